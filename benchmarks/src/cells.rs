//! The cells of a benchmark's tables, measured in separate processes and in several rounds over all cells.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

use crate::atomics::{self, Atomics};
use crate::measure::median;
use crate::process::{self, Failure, Native};

/// The identity of a cell: its build and its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Measured in the build without default features.
    pub default_build: bool,
    /// The side of a call.
    pub side: &'static str,
    /// The measured crate.
    pub candidate: &'static str,
    /// The variant of the request and of the installed providers.
    pub variant: &'static str,
}

impl Key {
    /// Returns the arguments of its process.
    pub fn arguments(self) -> [&'static str; 4] {
        ["--cell", self.side, self.candidate, self.variant]
    }

    /// Returns its name, as `--only` matches it.
    pub fn label(self) -> String {
        let build = if self.default_build { "default-" } else { "" };
        format!("{build}{}-{}-{}", self.side, self.candidate, self.variant)
    }
}

/// The measurement of a cell, per iteration.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Instructions.
    pub instructions: f64,
    /// Atomic read-modify-writes.
    pub atomics: Atomics,
    /// Allocations and time.
    pub native: Native,
}

impl Measured {
    /// The value of a cell that was not measured.
    pub const NOTHING: Self = Self {
        instructions: f64::NAN,
        atomics: Atomics::NOTHING,
        native: Native { allocations: f64::NAN, nanoseconds: f64::NAN },
    };

    /// Returns the difference to `base`.
    pub fn over(self, base: Self) -> Self {
        Self {
            instructions: self.instructions - base.instructions,
            atomics: self.atomics.over(base.atomics),
            native: Native {
                allocations: self.native.allocations - base.native.allocations,
                nanoseconds: self.native.nanoseconds - base.native.nanoseconds,
            },
        }
    }
}

/// The measurements of all cells.
#[derive(Debug, Default)]
pub struct Results {
    measured: HashMap<Key, Measured>,
    /// The native measurements of each round.
    rounds: HashMap<Key, Vec<Native>>,
}

impl Results {
    /// Returns the measurement of a cell.
    pub fn get(&self, key: Key) -> Measured {
        self.measured.get(&key).copied().unwrap_or(Measured::NOTHING)
    }

    /// Returns `true` if the cell was measured.
    pub fn has(&self, key: Key) -> bool {
        self.measured.contains_key(&key)
    }

    /// Counts the atomics of all cells whose instructions were counted.
    pub fn count_atomics(&mut self, default: &Path) -> Result<(), Failure> {
        let full = std::env::current_exe()?;
        let counted = self.measured.iter().filter(|(_, measured)| !measured.instructions.is_nan());
        let binary = |key: &Key| if key.default_build { default } else { &full }.to_owned();
        let mut cells: Vec<_> = counted.map(|(key, _)| (*key, binary(key))).collect();
        cells.sort_by_key(|(key, _)| key.default_build);
        for (key, atomics) in atomics::count_all(&cells)? {
            self.measured.entry(key).and_modify(|measured| measured.atomics = atomics);
        }
        Ok(())
    }

    /// Returns the ratio of the times of `than` and `this`. It is the median of the ratios of each round, because both
    /// cells of a round were measured within seconds.
    pub fn times_faster(&self, this: Key, than: Key) -> f64 {
        self.by_round(this, than, |this, than| than / this)
    }

    /// Returns the difference of the times of `this` and `than`, as the median of all rounds.
    pub fn nanoseconds_more(&self, this: Key, than: Key) -> f64 {
        self.by_round(this, than, |this, than| this - than)
    }

    fn by_round(&self, this: Key, than: Key, compared: impl Fn(f64, f64) -> f64) -> f64 {
        let of = |key| self.rounds.get(&key).into_iter().flatten().map(|round: &Native| round.nanoseconds);
        median(&mut of(this).zip(of(than)).map(|(this, than)| compared(this, than)).collect::<Vec<_>>())
    }
}

/// Measures the cells natively in `rounds` rounds and `counts` times under valgrind, and takes the medians.
pub fn measure(
    keys: &[Key],
    default: &Path,
    rounds: impl Fn(&Key) -> usize,
    counts: impl Fn(&Key) -> usize,
) -> Result<Results, Failure> {
    let full = std::env::current_exe()?;
    let binary = |key: &Key| if key.default_build { default } else { &full };
    let mut results = Results::default();
    let max_rounds = keys.iter().map(&rounds).max().unwrap_or_default();
    for round in 1..=max_rounds {
        eprintln!("measuring allocations and time, round {round} of {max_rounds}");
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
        let instructions = median(&mut { instructions });
        results.measured.insert(*key, Measured { instructions, native, ..Measured::NOTHING });
    }
    Ok(results)
}

/// Describes the machine and the compiler.
pub fn machine() -> String {
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let rustc = Command::new(compiler).arg("--version").output().ok();
    let rustc = rustc.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    format!(
        "{} {}, {cores} cores; {}.",
        std::env::consts::ARCH,
        std::env::consts::OS,
        rustc.as_deref().unwrap_or("rustc unknown"),
    )
}

/// Describes the machine and the tools.
pub fn facts(valgrind: Option<&str>) -> String {
    format!(
        "{} {}. Instructions are reproducible to about ±20; nanoseconds are medians and vary.",
        machine(),
        valgrind.unwrap_or("Instructions not counted (--quick)"),
    )
}
