//! The cells of a benchmark's tables: each measured in a process of its own, several rounds over all of them.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

use crate::measure::median;
use crate::process::{self, Failure, Native};

/// A cell: which build it is measured in, and its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The build without default features.
    pub default_build: bool,
    /// Which side of a call.
    pub side: &'static str,
    /// Whose layer is measured.
    pub candidate: &'static str,
    /// What the request carries, and what is installed.
    pub variant: &'static str,
}

impl Key {
    /// The arguments of its process.
    pub fn arguments(self) -> [&'static str; 4] {
        ["--cell", self.side, self.candidate, self.variant]
    }

    /// Its name.
    pub fn label(self) -> String {
        let build = if self.default_build { "default-" } else { "" };
        format!("{build}{}-{}-{}", self.side, self.candidate, self.variant)
    }
}

/// What was measured of a cell, for one iteration.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Instructions.
    pub instructions: f64,
    /// Allocations and time.
    pub native: Native,
}

impl Measured {
    /// What was not measured.
    pub const NOTHING: Self =
        Self { instructions: f64::NAN, native: Native { allocations: f64::NAN, nanoseconds: f64::NAN } };

    /// What this costs beyond the other.
    pub fn over(self, base: Self) -> Self {
        Self {
            instructions: self.instructions - base.instructions,
            native: Native {
                allocations: self.native.allocations - base.native.allocations,
                nanoseconds: self.native.nanoseconds - base.native.nanoseconds,
            },
        }
    }
}

/// What came out of all cells.
#[derive(Debug, Default)]
pub struct Results {
    measured: HashMap<Key, Measured>,
    /// What came out of each round.
    rounds: HashMap<Key, Vec<Native>>,
}

impl Results {
    /// What was measured of a cell.
    pub fn get(&self, key: Key) -> Measured {
        self.measured.get(&key).copied().unwrap_or(Measured::NOTHING)
    }

    /// Whether the cell was measured.
    pub fn has(&self, key: Key) -> bool {
        self.measured.contains_key(&key)
    }

    /// How many times faster one is than the other: the median of what each round says, for the two of a round were
    /// measured within seconds.
    pub fn times_faster(&self, this: Key, than: Key) -> f64 {
        self.by_round(this, than, |this, than| than / this)
    }

    /// How many nanoseconds one takes more than the other, told in the same way.
    pub fn nanoseconds_more(&self, this: Key, than: Key) -> f64 {
        self.by_round(this, than, |this, than| this - than)
    }

    fn by_round(&self, this: Key, than: Key, compared: impl Fn(f64, f64) -> f64) -> f64 {
        let of = |key| self.rounds.get(&key).into_iter().flatten().map(|round: &Native| round.nanoseconds);
        median(&mut of(this).zip(of(than)).map(|(this, than)| compared(this, than)).collect::<Vec<_>>())
    }
}

/// Measures the cells: natively in as many rounds as `rounds` says, and `counts` times under valgrind, of which the
/// median is taken.
pub fn measure(
    keys: &[Key],
    default: &Path,
    rounds: impl Fn(&Key) -> usize,
    counts: impl Fn(&Key) -> usize,
) -> Result<Results, Failure> {
    let full = std::env::current_exe()?;
    let binary = |key: &Key| if key.default_build { default } else { &full };
    let mut results = Results::default();
    let most = keys.iter().map(&rounds).max().unwrap_or_default();
    for round in 1..=most {
        eprintln!("measuring allocations and time, round {round} of {most}");
        for key in keys.iter().filter(|key| round <= rounds(key)) {
            results.rounds.entry(*key).or_default().push(process::native(binary(key), &key.arguments())?);
        }
    }
    let counted = keys.iter().filter(|key| counts(key) > 0).count();
    if counted > 0 {
        eprintln!("counting instructions of {counted} cells under valgrind");
    }
    for key in keys {
        let instructions = (0..counts(key))
            .map(|_| process::instructions(binary(key), &key.label(), &key.arguments()))
            .collect::<Result<Vec<_>, _>>()?;
        let median_of = |value: fn(&Native) -> f64| {
            median(&mut results.rounds.get(key).into_iter().flatten().map(value).collect::<Vec<_>>())
        };
        let native = Native {
            allocations: median_of(|one| one.allocations),
            nanoseconds: median_of(|one| one.nanoseconds),
        };
        results.measured.insert(*key, Measured { instructions: median(&mut { instructions }), native });
    }
    Ok(results)
}

/// What the numbers depend on.
pub fn facts(valgrind: Option<&str>) -> String {
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let rustc = Command::new(compiler).arg("--version").output().ok();
    let rustc = rustc.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    format!(
        "{} {}, {cores} cores; {}; {}. Instructions repeat to some ±20; nanoseconds are medians and wander.",
        std::env::consts::ARCH,
        std::env::consts::OS,
        rustc.as_deref().unwrap_or("rustc unknown"),
        valgrind.unwrap_or("instructions not counted (--quick)"),
    )
}
