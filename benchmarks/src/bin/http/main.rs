//! The cost of HTTP instrumentation: our layers, the peers and a minimal handwritten one, in one run.
//!
//! Without arguments it runs itself once per cell of its tables and prints the tables; see `benchmarks/README.md`.

mod cell;
mod check;
mod client;
#[cfg(feature = "comparison")]
mod contention;
#[cfg(feature = "comparison")]
mod floor;
#[cfg(feature = "comparison")]
mod growth;
#[cfg(feature = "comparison")]
mod propagation;
#[cfg(feature = "comparison")]
mod report;
mod requests;
mod server;

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
    cli::main("http", cell::measure, report)
}
