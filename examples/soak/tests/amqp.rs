//! The command line of the RabbitMQ soak. A run needs a broker: `cargo xtask ci soak-amqp` runs one.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

use std::process::{Command, Output};

fn amqp(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_amqp"));
    command.args(arguments).env("RABBITMQ_SERVER", "/no/such/program").output().unwrap()
}

#[test]
fn an_unknown_argument_is_an_error() {
    let output = amqp(&["--requests", "2"]);
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.starts_with("unknown argument `--requests`; expected --messages N"), "{stderr}");
}

#[test]
fn a_missing_broker_program_is_an_error() {
    let output = amqp(&["--messages", "2"]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.starts_with("soak amqp: cannot run /no/such/program"), "{stderr}");
}
