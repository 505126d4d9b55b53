//! The program's output: the instances that responded, and the choices in the trace.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

use std::process::Command;

fn output() -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_registry")).output().unwrap();
    assert!(output.status.success(), "{output:#?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn requests_continue_without_the_instance_that_was_killed() {
    let output = output();
    let responses = output.lines().find(|line| line.starts_with("stock-")).unwrap();
    let responses: Vec<_> = responses.split(", ").collect();
    assert_eq!(responses[..3], ["stock-1", "stock-2", "stock-3"]);
    assert_eq!(responses.len(), 9, "no request failed");
    assert!(!responses[3..].contains(&"stock-2"), "{responses:?}");

    let trace = output.split_whitespace().collect::<Vec<_>>().join(" ");
    let count = |text: &str| trace.matches(text).count();
    // Nine requests and one second attempt, each with its choice.
    assert_eq!(count("GET shop client +"), 10, "{trace}");
    assert_eq!(count("discovery.strategy=round_robin"), 10, "{trace}");
    assert_eq!(count("discovery.candidates=2") + count("discovery.candidates=3"), 10, "{trace}");
    assert_eq!(count("error.type=connection_refused"), 1, "{trace}");
    assert_eq!(count("discovery.ejection "), 1, "{trace}");
    assert_eq!(count(" server +"), 9, "{trace}");
}

#[test]
fn an_argument_is_refused() {
    let output = Command::new(env!("CARGO_BIN_EXE_registry")).arg("--help").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}
