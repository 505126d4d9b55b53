//! What tracing and measuring HTTP costs: our layers, the peers' and the least that could be done, in one run.
//!
//! Without arguments it runs itself once for each cell of its tables and prints them; see the README.

mod cell;
mod check;
mod client;
#[cfg(feature = "comparison")]
mod floor;
#[cfg(feature = "comparison")]
mod propagation;
#[cfg(feature = "comparison")]
mod report;
mod requests;
mod server;

use std::process::ExitCode;

use benchmarks::allocations::Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const HELP: &str = "\
cargo run --release --manifest-path benchmarks/Cargo.toml --bin http -- [--quick] [--only TEXT]

  --quick      allocations and nanoseconds only: needs no valgrind
  --only TEXT  only the cells whose name contains TEXT, such as `server-ours` or `propagation`; repeatable
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let ["--cell", rest @ ..] = &arguments[..] {
        return match cell::measure(rest) {
            Some(()) => ExitCode::SUCCESS,
            None => {
                eprintln!("error: there is no such cell: {rest:?}");
                ExitCode::FAILURE
            }
        };
    }
    report(&arguments)
}

#[cfg(feature = "comparison")]
fn report(arguments: &[&str]) -> ExitCode {
    let mut options = report::Options::default();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match *argument {
            "--quick" => options.quick = true,
            "--help" | "-h" => {
                print!("{HELP}");
                return ExitCode::SUCCESS;
            }
            "--only" if arguments.len() > 0 => options.only.extend(arguments.next().map(|&t| t.to_owned())),
            unknown => {
                eprint!("error: there is no argument `{unknown}`\n\n{HELP}");
                return ExitCode::from(2);
            }
        }
    }
    match report::report(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(not(feature = "comparison"))]
fn report(_arguments: &[&str]) -> ExitCode {
    eprint!("error: this build holds single cells only; build it with its default features\n\n{HELP}");
    ExitCode::from(2)
}
