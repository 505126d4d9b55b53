//! The cost of a choice among 10,000 endpoints, of which a hundred change each second, and the choices of otel-discovery, tower and
//! tonic when one endpoint is slow and one is dead.
//!
//! Without arguments it runs itself once per cell of its tables and prints the tables; see `benchmarks/README.md`.

mod cell;
#[cfg(feature = "comparison")]
mod faults;
#[cfg(feature = "comparison")]
mod report;
mod run;

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
    cli::main("discovery", cell::measure, report)
}
