//! The command line of all benchmarks: the tables, or one cell.

use std::process::ExitCode;

use crate::process::Failure;

/// The options of a run.
#[derive(Debug, Default)]
pub struct Options {
    /// Do not count instructions, which needs valgrind.
    pub quick: bool,
    /// Measure only cells whose name contains one of these texts; all cells if empty.
    pub only: Vec<String>,
}

/// Measures the cell given by the arguments; returns `None` if the cell does not exist.
pub type Cell = fn(&[&str]) -> Option<()>;

/// Measures all cells and prints the tables. The build without default features has no report.
pub type Report = fn(&Options) -> Result<(), Failure>;

fn help(name: &str) -> String {
    format!(
        "\
cargo run --release --manifest-path benchmarks/Cargo.toml --bin {name} -- [--quick] [--only TEXT]

  --quick      measures without valgrind, or in fewer rounds
  --only TEXT  measures only cells whose name contains TEXT, such as `server-ours`; repeatable
"
    )
}

/// The `main` function of a benchmark.
pub fn main(name: &str, cell: Cell, report: Option<Report>) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let ["--cell", rest @ ..] = &arguments[..] {
        return match cell(rest) {
            Some(()) => ExitCode::SUCCESS,
            None => {
                eprintln!("error: unknown cell {rest:?}");
                ExitCode::FAILURE
            }
        };
    }
    let Some(report) = report else {
        eprint!(
            "error: this build can only measure single cells; build it with default features\n\n{}",
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
                eprint!("error: unknown argument `{unknown}`\n\n{}", help(name));
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
