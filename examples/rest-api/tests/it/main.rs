//! The program as a user runs it: both of its modes, each in a process of its own.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

mod collector;
mod demo;
mod serve;

use std::process::Command;

/// The program, with these arguments, and without what the developer's environment says about telemetry.
fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rest-api"));
    command.args(arguments).env_remove("CLICOLOR_FORCE");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("OTEL_")) {
        command.env_remove(name);
    }
    command
}

/// A trace as it was drawn.
#[derive(Debug)]
struct Picture {
    id: String,
    rows: Vec<String>,
}

impl Picture {
    /// Every picture in the output: from a line that begins with `trace` to the next empty one.
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

    /// The row whose text, without the lines of the tree, begins so.
    fn row(&self, start: &str) -> &str {
        let found =
            self.rows.iter().find(|row| row.trim_start_matches(['│', '├', '└', '─', ' ']).starts_with(start));
        found.unwrap_or_else(|| panic!("no row `{start}` in {self:#?}"))
    }
}

#[test]
fn a_wrong_argument_is_answered_with_help() {
    let output = program(&["--sevre"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(complaint.starts_with("there is no argument `--sevre`\n\nrest-api [--serve"), "{complaint}");
    assert!(output.stdout.is_empty());
}

#[test]
fn help_is_no_error() {
    let output = program(&["--help"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8(output.stdout).unwrap().starts_with("rest-api [--serve"));
}
