//! The cost of sagas: durable appends to a journal, complete sagas per second and in memory, recovery of many sagas, and
//! telemetry's share of a step.
//!
//! Without arguments it runs itself once per cell of its tables and prints the tables; see `benchmarks/README.md`.

mod appends;
mod cell;
mod journals;
mod recovery;
#[cfg(feature = "comparison")]
mod report;
mod step;
mod throughput;

use std::process::ExitCode;

use benchmarks::allocations::Counting;
use benchmarks::cli;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> ExitCode {
    #[cfg(feature = "comparison")]
    let report: Option<cli::Report> = Some(report::report);
    #[cfg(not(feature = "comparison"))]
    let report = None;
    cli::main("saga", cell::measure, report)
}
