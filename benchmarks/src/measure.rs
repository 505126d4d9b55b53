//! A measurement: repeats the work; creating its input is not counted.

use std::time::Instant;

use crate::allocations;

/// Iterations before the measurement, so that caches are filled, handles are bound and tables have grown.
const WARM_UP: usize = 300;

/// The number of counted iterations.
pub const ITERATIONS: usize = 1000;

/// The number of timed batches; odd, so that one of them is the median.
const BATCHES: usize = 41;

/// The pattern for callgrind's `--toggle-collect` that matches [`counted_region`].
pub const COUNTED: &str = "*counted_region*";

/// The kind of measurement of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Instructions, counted by callgrind.
    Instructions,
    /// Allocations and nanoseconds, printed at the end.
    Native,
}

impl Mode {
    /// Returns its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Instructions => "instructions",
            Self::Native => "native",
        }
    }

    /// Parses the name of a mode.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Instructions, Self::Native].into_iter().find(|mode| mode.name() == name)
    }
}

/// Runs the work in the counted region.
#[inline(never)]
pub fn counted_region<I, F: FnMut(I)>(work: &mut F, input: I) {
    work(input);
}

/// Runs the measurement. In [`Mode::Native`] it prints the results, one per line.
pub fn measure<I, P: FnMut() -> I, F: FnMut(I)>(mode: Mode, mut prepare: P, mut work: F) {
    for _ in 0..WARM_UP {
        work(prepare());
    }
    if mode == Mode::Instructions {
        for _ in 0..ITERATIONS {
            counted_region(&mut work, prepare());
        }
        return;
    }

    let mut allocated = 0;
    for _ in 0..ITERATIONS {
        let input = prepare();
        let before = allocations::count();
        counted_region(&mut work, input);
        allocated += allocations::count() - before;
    }
    println!("allocations {}", allocated as f64 / ITERATIONS as f64);

    let mut batches: Vec<f64> = (0..BATCHES)
        .map(|_| {
            let inputs: Vec<I> = (0..ITERATIONS).map(|_| prepare()).collect();
            let started = Instant::now();
            for input in inputs {
                counted_region(&mut work, input);
            }
            started.elapsed().as_nanos() as f64 / ITERATIONS as f64
        })
        .collect();
    println!("nanoseconds {}", median(&mut batches));
}

/// Returns the median; NaN if there are no values.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Returns the least and the greatest value; NaN if there are no values.
pub fn range(values: &[f64]) -> [f64; 2] {
    [values.iter().copied().fold(f64::NAN, f64::min), values.iter().copied().fold(f64::NAN, f64::max)]
}
