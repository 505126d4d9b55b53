//! Operations of OpenTelemetry's SDKs and of traced requests, in Rust and, if Go is installed, in Go.
//!
//! Without arguments it runs both programs in turn and prints the table; see `benchmarks/README.md`.

mod allocator;
mod protocols;
mod report;
mod run;

use std::process::ExitCode;

use benchmarks::cli;

use crate::allocator::CountingBytes;

#[global_allocator]
static ALLOCATOR: CountingBytes = CountingBytes;

fn main() -> ExitCode {
    cli::main("operations", run::cell, Some(report::report))
}
