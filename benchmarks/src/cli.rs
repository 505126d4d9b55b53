//! The command line that all benchmarks have: the tables, or one cell of them.

use std::process::ExitCode;

use crate::process::Failure;

/// What was asked for.
#[derive(Debug, Default)]
pub struct Options {
    /// Without valgrind.
    pub quick: bool,
    /// Only the cells whose names contain one of these; all of them if there is none.
    pub only: Vec<String>,
}

/// Measures a cell that the arguments name, or answers `None` where there is no such cell.
pub type Cell = fn(&[&str]) -> Option<()>;

/// Measures all cells and prints the tables. A build of single cells has none.
pub type Report = fn(&Options) -> Result<(), Failure>;

fn help(name: &str) -> String {
    format!(
        "\
cargo run --release --manifest-path benchmarks/Cargo.toml --bin {name} -- [--quick] [--only TEXT]

  --quick      allocations and nanoseconds only: needs no valgrind
  --only TEXT  only the cells whose name contains TEXT, such as `server-ours`; repeatable
"
    )
}

/// The whole of a benchmark's `main`.
pub fn main(name: &str, cell: Cell, report: Option<Report>) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let ["--cell", rest @ ..] = &arguments[..] {
        return match cell(rest) {
            Some(()) => ExitCode::SUCCESS,
            None => {
                eprintln!("error: there is no such cell: {rest:?}");
                ExitCode::FAILURE
            }
        };
    }
    let Some(report) = report else {
        eprint!(
            "error: this build holds single cells only; build it with its default features\n\n{}",
            help(name)
        );
        return ExitCode::from(2);
    };
    let mut options = Options::default();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match *argument {
            "--quick" => options.quick = true,
            "--help" | "-h" => {
                print!("{}", help(name));
                return ExitCode::SUCCESS;
            }
            "--only" if arguments.len() > 0 => options.only.extend(arguments.next().map(|&t| t.to_owned())),
            unknown => {
                eprint!("error: there is no argument `{unknown}`\n\n{}", help(name));
                return ExitCode::from(2);
            }
        }
    }
    match report(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
