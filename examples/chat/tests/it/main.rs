//! The program as a user runs it: the demonstration, and rooms with members in processes of their own.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

mod demo;
mod picture;
mod room;

use std::process::Command;

/// The program, with these arguments, and without what the developer's environment says about telemetry.
fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chat"));
    command.args(arguments).env_remove("CLICOLOR_FORCE");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("OTEL_")) {
        command.env_remove(name);
    }
    command
}

#[test]
fn a_wrong_argument_is_answered_with_help() {
    let output = program(&["--sevre"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(complaint.starts_with("there is no argument `--sevre`\n\nchat [--serve"), "{complaint}");
    assert!(output.stdout.is_empty());
}

#[test]
fn help_is_no_error() {
    let output = program(&["--help"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8(output.stdout).unwrap().starts_with("chat [--serve"));
}
