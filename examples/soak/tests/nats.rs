//! The command line of the NATS soak. A run needs a server: `cargo xtask ci soak-nats` runs a short one.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

use std::process::{Command, Output};

fn nats(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nats"));
    command.args(arguments).env("NATS_SERVER", "/no/such/program").output().unwrap()
}

#[test]
fn an_unknown_argument_is_an_error() {
    let output = nats(&["--requests", "2"]);
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.starts_with("unknown argument `--requests`; expected --messages N"), "{stderr}");
}

#[test]
fn a_missing_server_program_is_an_error() {
    let output = nats(&["--messages", "2"]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.starts_with("soak nats: cannot run /no/such/program"), "{stderr}");
}
