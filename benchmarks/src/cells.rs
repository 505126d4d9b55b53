//! The cells of a benchmark's tables, measured in separate processes and in several rounds over all cells.

use std::collections::HashMap;
use std::path::Path;

use crate::atomics::{self, Atomics};
use crate::cli::Options;
use crate::measure::{median, range};
use crate::process::{self, Failure, Native};
use crate::table::{Cell, count, whole};

/// The number of rounds of native measurements. Each round covers all cells, so that a temporary load affects all of them.
const ROUNDS: usize = 3;

/// The number of instruction counts of a cell.
const COUNTS: usize = 3;

/// The columns of [`Measured::cells`].
pub const COLUMNS: [&str; 3] = ["instructions", "allocations", "ns (range)"];

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
    /// The least and the greatest time of all rounds.
    pub range: [f64; 2],
}

impl Measured {
    /// The value of a cell that was not measured.
    pub const NOTHING: Self = Self {
        instructions: f64::NAN,
        atomics: Atomics::NOTHING,
        native: Native { allocations: f64::NAN, nanoseconds: f64::NAN },
        range: [f64::NAN; 2],
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
            range: [self.range[0] - base.range[1], self.range[1] - base.range[0]],
        }
    }

    /// Returns its share of one of so many parts.
    #[must_use]
    pub fn divided(mut self, parts: f64) -> Self {
        let Self { instructions, atomics, native, range } = &mut self;
        let values = [instructions, &mut atomics.all, &mut atomics.shared];
        for value in values.into_iter().chain([&mut native.allocations, &mut native.nanoseconds]).chain(range)
        {
            *value /= parts;
        }
        self
    }

    /// Returns the values of [`COLUMNS`].
    pub fn cells(self) -> Vec<Cell> {
        vec![
            Cell::whole(self.instructions),
            Cell::count(self.native.allocations),
            Cell::whole(self.native.nanoseconds).with_spread(self.range),
        ]
    }

    /// Describes the cost of the base of a table's differences.
    pub fn describe(self, name: &str) -> String {
        let [instructions, allocations, nanoseconds] =
            [self.instructions, self.native.allocations, self.native.nanoseconds];
        let atomics = if self.atomics.all.is_nan() {
            String::new()
        } else {
            format!("{} atomics (shared), ", self.atomics.cell())
        };
        format!(
            "{name}: {} instructions, {} allocations, {atomics}{} ns.",
            whole(instructions),
            count(allocations),
            whole(nanoseconds)
        )
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

    /// Returns the difference of two cells; its time is the median of the differences within a round, with their range.
    pub fn over(&self, this: Key, base: Key) -> Measured {
        let mut times = self.by_round(this, base, |this, base| this - base);
        let mut over = Measured { range: range(&times), ..self.get(this).over(self.get(base)) };
        over.native.nanoseconds = median(&mut times);
        over
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
        median(&mut self.by_round(this, than, |this, than| than / this))
    }

    /// Returns the difference of the times of `this` and `than`, as the median of all rounds.
    pub fn nanoseconds_more(&self, this: Key, than: Key) -> f64 {
        median(&mut self.by_round(this, than, |this, than| this - than))
    }

    fn by_round(&self, this: Key, than: Key, compared: impl Fn(f64, f64) -> f64) -> Vec<f64> {
        let of = |key| self.rounds.get(&key).into_iter().flatten().map(|round: &Native| round.nanoseconds);
        of(this).zip(of(than)).map(|(this, than)| compared(this, than)).collect()
    }
}

/// Measures the wanted cells, and the candidates that are the bases of differences. No cell is of the build without default
/// features.
pub fn measure_wanted(
    options: &Options,
    keys: impl Iterator<Item = Key>,
    bases: &[&str],
) -> Result<Results, Failure> {
    let keys: Vec<Key> =
        keys.filter(|key| bases.contains(&key.candidate) || options.wants(&key.label())).collect();
    let counts = if options.counts()? { COUNTS } else { 0 };
    measure(&keys, Path::new(""), |_| ROUNDS, |_| counts)
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
        let times = results.rounds.get(key).into_iter().flatten().map(|one| one.nanoseconds);
        let range = range(&times.collect::<Vec<_>>());
        results.measured.insert(*key, Measured { instructions, native, range, ..Measured::NOTHING });
    }
    Ok(results)
}
