//! The cost of database instrumentation: otel-sqlx and sqlx-otel compared with sqlx, on SQLite in memory, in one run.
//!
//! Without arguments it runs itself once per cell of its tables and prints the tables; see `benchmarks/README.md`.

mod cell;
mod peer;
mod report;
mod run;

use std::process::ExitCode;

use benchmarks::allocations::Counting;
use benchmarks::cli;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> ExitCode {
    cli::main("database", cell::measure, Some(report::report))
}
