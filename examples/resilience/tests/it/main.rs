//! The program's output: its reports, and the spans of its traces without their times and ids.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

use std::process::Command;
use std::sync::LazyLock;

static OUTPUT: LazyLock<String> = LazyLock::new(|| {
    let output = Command::new(env!("CARGO_BIN_EXE_resilience")).output().unwrap();
    assert!(output.status.success(), "{output:#?}");
    String::from_utf8(output.stdout).unwrap()
});

/// The report below a headline, and the rows of the one trace there.
fn section(headline: &str) -> (&str, Vec<String>) {
    let start = OUTPUT.find(headline).unwrap_or_else(|| panic!("no `{headline}` in {}", *OUTPUT));
    let lines = OUTPUT[start..].lines().skip(2);
    let lines: Vec<_> = lines.take_while(|line| !line.starts_with("A ")).collect();
    let mut parts = lines.split(|line| line.is_empty()).filter(|part| !part.is_empty());
    let report = parts.next().unwrap()[0].trim();
    // A trace begins with its header and the axis.
    let trace = parts.next().unwrap().iter().skip(2).map(|line| row(line)).collect();
    assert_eq!(parts.count(), 0, "one trace: {}", *OUTPUT);
    (report, trace)
}

/// A row without its offset and what follows it, and without measured times.
fn row(line: &str) -> String {
    let line = line.trim_start_matches(['│', '├', '└', '─', ' ', '4', '…']);
    let words = line.split_whitespace();
    let is_measured = |word: &str| word.starts_with("resilience.deadline.") && word.contains('=');
    let words = words.take_while(|word| !word.starts_with('+')).filter(|word| !is_measured(word));
    words.collect::<Vec<_>>().join(" ")
}

/// The rows of spans alone.
fn spans(rows: &[String]) -> Vec<&str> {
    let kinds = ["internal", "client", "server"];
    rows.iter().map(String::as_str).filter(|row| kinds.iter().any(|kind| row.ends_with(kind))).collect()
}

#[test]
fn attempts_are_siblings_below_the_logical_call() {
    let (report, rows) = section("A backend that fails twice");
    assert_eq!(report, "200 OK after 3 attempts");
    assert_eq!(
        spans(&rows),
        [
            "look up item shop internal",
            "✗ GET shop client",
            "✗ GET /items/{id} stock server",
            "✗ GET shop client",
            "✗ GET /items/{id} stock server",
            "GET shop client",
            "GET /items/{id} stock server",
        ]
    );
    for resend in 1..=2 {
        let count = format!("http.request.resend_count={resend}");
        assert_eq!(rows.iter().filter(|row| row.contains(&count)).count(), 1, "{rows:#?}");
    }
    assert_eq!(OUTPUT.matches("resilience.retry resilience.name=").count(), 2);
}

#[test]
fn a_breaker_opens_and_closes() {
    let (report, rows) = section("A breaker opens");
    assert_eq!(report, "failed, failed, failed, refused, refused, paid; the breaker is closed");
    let failed = ["✗ GET shop client", "✗ GET /pay payments server"];
    let refused = "✗ circuit_breaker payments shop internal";
    let mut expected = vec!["pay orders shop internal"];
    expected.extend([failed; 3].concat());
    expected.extend([refused, refused, "GET shop client", "GET /pay payments server"]);
    assert_eq!(spans(&rows), expected);
    assert_eq!(rows.iter().filter(|row| *row == "✗ circuit_open").count(), 2);
    assert_eq!(OUTPUT.matches("resilience.circuit_breaker.transition").count(), 3);
}

#[test]
fn a_deadline_stops_three_services() {
    let (report, rows) = section("A deadline of");
    assert_eq!(report, "504 Gateway Timeout in place of a minute");
    assert_eq!(
        spans(&rows),
        [
            "find parts shop internal",
            "✗ GET shop client",
            "✗ GET /parts stock server",
            "✗ GET stock client",
            "✗ GET /parts warehouse server",
            "✗ GET warehouse client",
            "✗ GET /parts supplier server",
        ]
    );
    let trace = &OUTPUT[OUTPUT.find("A deadline of").unwrap()..];
    let left: Vec<f64> = trace
        .lines()
        .flat_map(str::split_whitespace)
        .filter_map(|word| word.strip_prefix("resilience.deadline.remaining="))
        .map(|left| left.parse().unwrap())
        .collect();
    assert_eq!(left.len(), 6, "{}", *OUTPUT);
    assert!(left.windows(2).all(|pair| pair[0] > pair[1]), "it shortens at each hop: {left:?}");
    assert!(!OUTPUT.contains("cancelled"));
}

#[test]
fn an_argument_is_refused() {
    let output = Command::new(env!("CARGO_BIN_EXE_resilience")).arg("--help").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}
