//! The cost of RabbitMQ instrumentation: otel-amqp's channel compared with lapin's, in one run.
//!
//! Without arguments it runs itself once per cell of its tables and prints the tables; see `benchmarks/README.md`.

mod cell;
mod client;
#[cfg(feature = "comparison")]
mod floor;
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
    cli::main("amqp", cell::measure, report)
}
