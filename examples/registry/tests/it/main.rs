//! The program's output, with both registries: the instances that responded, and the choices in the traces.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

use std::process::Command;

use otel_testing::service::setting;

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_registry"));
    command.args(arguments);
    command
}

fn output(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:#?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Checks the three rounds of a protocol. Each is a line with the instances that responded, and a trace.
fn check(output: &str, protocol: &str, span: &str) {
    let responses = |round: &str| -> Vec<String> {
        let begin = format!("{protocol}, {round}: ");
        let line = output.lines().find_map(|line| line.strip_prefix(&begin)).unwrap();
        line.split(", ").map(str::to_owned).collect()
    };
    assert_eq!(responses("three instances"), ["stock-1", "stock-2", "stock-3"]);
    for (round, count) in [("one was killed", 4), ("its lease is over", 3)] {
        let responses = responses(round);
        assert_eq!(responses.len(), count, "no request failed");
        assert!(responses.iter().all(|one| one == "stock-1" || one == "stock-3"), "{responses:?}");
    }
    let trace = |round: &str| {
        let begin = format!("{protocol}, {round}: ");
        let mut lines = output.lines().skip_while(|line| !line.starts_with(&begin)).skip(1);
        let of_round: Vec<_> = lines
            .by_ref()
            .take_while(|line| !["HTTP, ", "gRPC, "].iter().any(|next| line.starts_with(next)))
            .collect();
        of_round.join(" ").split_whitespace().collect::<Vec<_>>().join(" ")
    };
    // The requests of each round, with one second attempt, and the candidates among which an instance was chosen.
    for (round, three, two, failed) in
        [("three instances", 3, 0, 0), ("one was killed", 2, 3, 1), ("its lease is over", 0, 3, 0)]
    {
        let trace = trace(round);
        let count = |text: &str| trace.matches(text).count();
        assert_eq!(count(&format!("{span} shop client +")), three + two, "{trace}");
        assert_eq!(count("discovery.strategy=round_robin"), three + two, "{trace}");
        assert_eq!(count("discovery.candidates=3"), three, "{trace}");
        assert_eq!(count("discovery.candidates=2"), two, "{trace}");
        // Of gRPC a connection can be there still, which is reset.
        assert_eq!(count("error.type=connection_re"), failed, "{trace}");
        assert_eq!(count("discovery.ejection "), failed, "{trace}");
        assert_eq!(count(" server +"), three + two - failed, "{trace}");
    }
}

#[test]
fn requests_continue_without_the_instance_that_was_killed() {
    let output = output(program(&[]));
    check(&output, "HTTP", "GET");
    check(&output, "gRPC", "stock.Stock/Get");
}

/// Without an address the program asks the xtask, which finds the server of `ETCD_URL`.
#[test]
fn the_same_in_etcd() {
    let url = setting("ETCD_URL", "start the server: `cargo xtask services up etcd`");
    let mut with_xtask = program(&["--etcd"]);
    with_xtask.env("ETCD_URL", &url);
    for command in [program(&["--etcd", &url]), with_xtask] {
        let output = output(command);
        check(&output, "HTTP", "GET");
        check(&output, "gRPC", "stock.Stock/Get");
    }
}

#[test]
fn an_etcd_that_is_away_is_an_error() {
    let output = program(&["--etcd", "http://127.0.0.1:1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.starts_with("error: registry etcd: cannot register service stock: "), "{error}");
}

#[test]
fn an_unknown_argument_is_refused() {
    let output = program(&["--etc"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}
