//! The cost of gRPC instrumentation: our layers and the peers, in one run.
//!
//! Without arguments it runs itself once per cell of its tables and prints the tables; see `benchmarks/README.md`.

mod cell;
mod echo;
#[cfg(feature = "comparison")]
mod report;

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
    cli::main("grpc", cell::measure, report)
}
