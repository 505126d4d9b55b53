//! End-to-end tests of the program in both modes, each in a separate process.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

mod collector;
mod demo;
mod serve;

use std::process::Command;

/// The program with these arguments, without the developer's `OTEL_*` variables.
fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rest-api"));
    command.args(arguments).env_remove("CLICOLOR_FORCE");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("OTEL_")) {
        command.env_remove(name);
    }
    command
}

/// A trace in the program's output.
#[derive(Debug)]
struct Picture {
    id: String,
    rows: Vec<String>,
}

impl Picture {
    /// Parses every picture in the output: from a line that begins with `trace` to the next empty line.
    fn all(output: &str) -> Vec<Self> {
        let mut pictures = Vec::new();
        let mut lines = output.lines();
        while let Some(line) = lines.next() {
            if let Some(header) = line.strip_prefix("trace ") {
                let id = header.split(' ').next().unwrap().to_owned();
                let rows = lines.by_ref().take_while(|line| !line.is_empty()).skip(1).map(str::to_owned);
                pictures.push(Self { id, rows: rows.collect() });
            }
        }
        pictures
    }

    /// Returns the row whose text, without the lines of the tree, begins with `start`.
    fn row(&self, start: &str) -> &str {
        let row =
            self.rows.iter().find(|row| row.trim_start_matches(['│', '├', '└', '─', ' ']).starts_with(start));
        row.unwrap_or_else(|| panic!("no row `{start}` in {self:#?}"))
    }
}

#[test]
fn an_unknown_argument_prints_the_usage() {
    let output = program(&["--sevre"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.starts_with("unknown argument `--sevre`\n\nrest-api [--serve"), "{stderr}");
    assert!(output.stdout.is_empty());
}

#[test]
fn help_exits_with_success() {
    let output = program(&["--help"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8(output.stdout).unwrap().starts_with("rest-api [--serve"));
}
