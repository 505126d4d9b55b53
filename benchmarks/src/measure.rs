//! One measurement: the same work over and over, its input made outside of what is counted.

use std::time::Instant;

use crate::allocations;

/// Enough for caches to be filled, handles to be bound and tables to have grown.
const WARM_UP: usize = 300;

/// How often the work is done where it is counted.
pub const ITERATIONS: usize = 1000;

/// Timed batches. Odd, so that one of them is the median.
const BATCHES: usize = 41;

/// The function that callgrind counts in, as a pattern for `--toggle-collect`.
pub const COUNTED: &str = "*counted_region*";

/// What a process measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Instructions, by callgrind from the outside.
    Instructions,
    /// Allocations and nanoseconds, printed when done.
    Native,
}

impl Mode {
    /// As it stands in a command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Instructions => "instructions",
            Self::Native => "native",
        }
    }

    /// The mode of this name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Instructions, Self::Native].into_iter().find(|mode| mode.name() == name)
    }
}

/// Does the work where it is counted.
#[inline(never)]
pub fn counted_region<I, F: FnMut(I)>(work: &mut F, input: I) {
    work(input);
}

/// Does the work as the mode says. In [`Mode::Native`] the results go to standard output, one a line.
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

/// The value in the middle.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
