//! End-to-end tests of the program on the servers that `cargo xtask services up postgres redis` starts.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

mod demo;
mod picture;

use std::process::Command;

use otel_testing::service::setting;

const START: &str = "start the servers: `cargo xtask services up postgres redis`";

/// The program with these arguments, without the developer's `OTEL_*` variables.
fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ledger"));
    command.args(arguments).env_remove("CLICOLOR_FORCE");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("OTEL_")) {
        command.env_remove(name);
    }
    command
}

/// The program on the servers of the tests.
fn demonstration() -> Command {
    let (postgres, redis) = (setting("POSTGRES_URL", START), setting("REDIS_URL", START));
    program(&["--postgres", &postgres, "--redis", &redis])
}

#[test]
fn an_unknown_argument_prints_the_usage() {
    let output = program(&["--sever"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.starts_with("unknown argument `--sever`\n\nledger [--postgres"), "{stderr}");
    assert!(output.stdout.is_empty());
}

#[test]
fn help_exits_with_success() {
    let output = program(&["--help"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8(output.stdout).unwrap().starts_with("ledger [--postgres"));
}

#[test]
fn an_unreachable_address_is_reported() {
    let redis = setting("REDIS_URL", START);
    let unreachable = ["--postgres", "postgres://postgres@127.0.0.1:1", "--redis", &redis];
    let output = program(&unreachable).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("error: postgres://postgres@127.0.0.1:1: "), "{stderr}");
    assert!(output.stdout.is_empty());
}
