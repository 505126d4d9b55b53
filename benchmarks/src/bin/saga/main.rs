//! What sagas cost: appends to a journal with fsync, recovery of many, and the share that telemetry has in a step.
//!
//! Without arguments it runs itself once for each cell of its tables and prints them; see the README.

mod appends;
mod cell;
mod journals;
mod recovery;
#[cfg(feature = "comparison")]
mod report;
mod step;

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
