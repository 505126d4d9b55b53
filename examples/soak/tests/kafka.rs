//! The command line of the Kafka soak. The soak itself needs a broker: `cargo xtask ci soak-kafka` runs a short one.

#![expect(clippy::unwrap_used, reason = "a helper of tests is a test")]

use std::process::{Command, Output};

fn kafka(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kafka"));
    command.args(arguments).env("KAFKA_SERVER", "/no/such/program").output().unwrap()
}

#[test]
fn a_wrong_argument_is_told() {
    let output = kafka(&["--requests", "2"]);
    assert_eq!(output.status.code(), Some(2));
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(
        complaint.starts_with("there is no argument `--requests`; there are --messages N"),
        "{complaint}"
    );
}

#[test]
fn a_broker_that_is_not_there_is_a_failure() {
    let output = kafka(&["--messages", "2"]);
    assert_eq!(output.status.code(), Some(1));
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(complaint.starts_with("soak kafka: cannot run /no/such/program"), "{complaint}");
}
