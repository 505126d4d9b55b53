//! End-to-end tests of the program on the mock cluster and on a real one.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

mod broker;
mod demo;
mod picture;
mod run;

use std::process::Command;

/// The program with these arguments, without the developer's `OTEL_*` variables.
fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_orders"));
    command.args(arguments).env_remove("CLICOLOR_FORCE");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("OTEL_")) {
        command.env_remove(name);
    }
    command
}

#[test]
fn an_unknown_argument_prints_the_usage() {
    let output = program(&["--borkers"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.starts_with("unknown argument `--borkers`\n\norders [--brokers"), "{stderr}");
    assert!(output.stdout.is_empty());
}

#[test]
fn help_exits_with_success() {
    let output = program(&["--help"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8(output.stdout).unwrap().starts_with("orders [--brokers"));
}
