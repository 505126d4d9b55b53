//! The batch processor of otel-telemetry compared with the SDK's: lost spans under load, and the cost of an ended span.
//!
//! Without arguments it runs itself once per cell of its tables and prints the tables; see `benchmarks/README.md`.

mod candidate;
mod end;
mod load;
mod report;

use std::process::ExitCode;

use benchmarks::cli;
use benchmarks::measure::Mode;

use crate::candidate::Candidate;

fn main() -> ExitCode {
    cli::main("telemetry", measure, Some(report::report))
}

/// Measures the cell given by the arguments.
fn measure(arguments: &[&str]) -> Option<()> {
    match arguments {
        ["load", candidate] => load::measure(Candidate::parse(candidate)?),
        ["end", candidate, mode] => end::measure(Candidate::parse(candidate)?, Mode::parse(mode)?),
        _ => return None,
    }
    Some(())
}
