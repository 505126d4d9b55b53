//! The cost of Kafka instrumentation: otel-kafka's clients compared with rdkafka's, in one run.
//!
//! Without arguments it runs itself once per cell of its tables and prints the tables; see `benchmarks/README.md`.

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
