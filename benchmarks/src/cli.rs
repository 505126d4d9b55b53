//! The command line of all benchmarks: the tables, or one cell.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::process::{self, Failure};
use crate::results::Document;

/// The options of a run.
#[derive(Debug, Default)]
pub struct Options {
    /// Do not count instructions, which needs valgrind.
    pub quick: bool,
    /// Measure only cells whose name contains one of these texts; all cells if empty.
    pub only: Vec<String>,
    /// The file for the results as JSON.
    pub json: Option<PathBuf>,
}

impl Options {
    /// Returns true if the cell of this name is measured.
    pub fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|text| name.contains(&**text))
    }

    /// Returns true if instructions are counted; fails without valgrind.
    pub fn counts(&self) -> Result<bool, Failure> {
        if !self.quick {
            process::valgrind()?;
        }
        Ok(!self.quick)
    }
}

/// Measures the cell given by the arguments; returns `None` if the cell does not exist.
pub type Cell = fn(&[&str]) -> Option<()>;

/// Measures all cells and adds the tables. The build without default features has no report.
pub type Report = fn(&Options, &mut Document) -> Result<(), Failure>;

fn help(name: &str) -> String {
    format!(
        "\
cargo run --release --manifest-path benchmarks/Cargo.toml --bin {name} -- [--quick] [--only TEXT] [--json FILE]

  --quick      measures without valgrind, or in fewer rounds
  --only TEXT  measures only cells whose name contains TEXT, such as `server-ours`; repeatable
  --json FILE  also writes the results as JSON
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
    let mut document = Document::new(name, &arguments);
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
            "--json" if arguments.len() > 0 => options.json = arguments.next().map(PathBuf::from),
            unknown => {
                eprint!("error: unknown argument `{unknown}`\n\n{}", help(name));
                return ExitCode::from(2);
            }
        }
    }
    let result = report(&options, &mut document).and_then(|()| {
        document.finish();
        options.json.as_deref().map_or(Ok(()), |file| document.write(file))
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
