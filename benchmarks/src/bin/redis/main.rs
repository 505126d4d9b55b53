//! The cost of a Redis command: otel-redis compared with redis' own connection and with a minimal instrumentation by hand,
//! in one run. The connection answers from memory, so that no socket is in the counted region.
//!
//! Without arguments it runs itself once per cell of its tables and prints the tables; see `benchmarks/README.md`.

mod cell;
#[cfg(feature = "comparison")]
mod floor;
mod memory;
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
    cli::main("redis", cell::measure, report)
}
