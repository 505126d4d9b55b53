//! End-to-end tests of the program on the broker that `cargo xtask services up rabbitmq` starts.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

mod demo;
mod picture;

use std::process::Command;

const START: &str = "start the broker: `cargo xtask services up rabbitmq`";

/// The program with these arguments, without the developer's `OTEL_*` variables.
fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_invoices"));
    command.args(arguments).env_remove("CLICOLOR_FORCE");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("OTEL_")) {
        command.env_remove(name);
    }
    command
}

/// Returns the address from the environment or from the file that `cargo xtask services up` writes.
fn broker() -> String {
    let name = "RABBITMQ_URL";
    if let Ok(value) = std::env::var(name) {
        return value;
    }
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/services/env");
    let lines = std::fs::read_to_string(file)
        .unwrap_or_else(|_| panic!("{name} is not set and {file} does not exist: {START}"));
    let mut settings = lines.lines().filter_map(|line| line.strip_prefix("export ")?.split_once('='));
    let (_, value) = settings
        .find(|(key, _)| *key == name)
        .unwrap_or_else(|| panic!("{name} is set neither in the environment nor in {file}: {START}"));
    value.trim_matches('\'').to_owned()
}

#[test]
fn an_unknown_argument_prints_the_usage() {
    let output = program(&["--borker"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.starts_with("unknown argument `--borker`\n\ninvoices [--broker"), "{stderr}");
    assert!(output.stdout.is_empty());
}

#[test]
fn help_exits_with_success() {
    let output = program(&["--help"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8(output.stdout).unwrap().starts_with("invoices [--broker"));
}

#[test]
fn an_unreachable_address_is_reported() {
    let output = program(&["--broker", "amqp://127.0.0.1:1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("error: cannot connect to the broker: "), "{stderr}");
    assert!(output.stdout.is_empty());
}
