//! The `main` of a soak: its command line, its report and its exit code.

use std::error::Error;
use std::process::ExitCode;

use crate::{Arguments, Report};

/// Runs the soak of this name, and prints its report. `operations` is the argument of [`Arguments::parse`].
///
/// Returns 0 if all checks pass, 1 if a check fails or the soak returns an error, and 2 for invalid arguments.
pub async fn run<F>(name: &str, operations: (&str, u64, u64), soak: impl FnOnce(Arguments) -> F) -> ExitCode
where
    F: Future<Output = Result<Report, Box<dyn Error>>>,
{
    run_with(name, operations, std::env::args().skip(1), soak).await
}

/// [`run`] with these arguments, for a soak with further ones.
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a soak prints to its terminal")]
pub async fn run_with<F>(
    name: &str,
    operations: (&str, u64, u64),
    arguments: impl IntoIterator<Item = String>,
    soak: impl FnOnce(Arguments) -> F,
) -> ExitCode
where
    F: Future<Output = Result<Report, Box<dyn Error>>>,
{
    let arguments = match Arguments::parse(operations, arguments) {
        Ok(arguments) => arguments,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    otel_operation::declare_bound_metrics();
    otel_propagation::set_global(otel_propagation::CompositePropagator::default());
    match soak(arguments).await {
        Ok(report) => {
            println!("{}", report.text());
            let failures = report.failures();
            if failures.is_empty() {
                println!("soak {name}: all checks passed");
                return ExitCode::SUCCESS;
            }
            eprintln!("soak {name}: {} checks failed:", failures.len());
            failures.iter().for_each(|failure| eprintln!("{failure}"));
        }
        Err(error) => eprintln!("soak {name}: {error}"),
    }
    ExitCode::FAILURE
}
