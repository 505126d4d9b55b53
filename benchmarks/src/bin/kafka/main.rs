//! What tracing and measuring Kafka costs: otel-kafka's clients beside rdkafka's own, in one run.
//!
//! Without arguments it runs itself once for each cell of its tables and prints them; see the README.

mod cell;
mod consumer;
#[cfg(feature = "comparison")]
mod floor;
mod full;
mod paced;
mod producer;
#[cfg(feature = "comparison")]
mod report;
#[cfg(feature = "comparison")]
mod topic;

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
    cli::main("kafka", cell::measure, report)
}
