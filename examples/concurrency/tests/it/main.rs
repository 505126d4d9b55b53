//! The program's output: its reports, and the spans of its traces without their times and ids.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

use std::process::Command;
use std::sync::LazyLock;

static OUTPUT: LazyLock<String> = LazyLock::new(|| {
    let output = Command::new(env!("CARGO_BIN_EXE_concurrency")).output().unwrap();
    assert!(output.status.success(), "{output:#?}");
    String::from_utf8(output.stdout).unwrap()
});

/// The reports below a headline, and the rows of each trace there.
fn section(headline: &str) -> (Vec<&str>, Vec<Vec<String>>) {
    let start = OUTPUT.find(headline).unwrap_or_else(|| panic!("no `{headline}` in {}", *OUTPUT));
    let lines = OUTPUT[start..].lines().skip(2);
    let is_headline = |line: &&str| line.starts_with("The first") || line.starts_with("A p");
    let lines: Vec<_> = lines.take_while(|line| !is_headline(line)).collect();
    let mut parts = lines.split(|line| line.is_empty()).filter(|part| !part.is_empty());
    let reports = parts.next().unwrap().iter().map(|line| line.trim()).collect();
    // A trace begins with its header and the axis.
    let traces = parts.map(|trace| trace.iter().skip(2).map(|line| row(line)).collect()).collect();
    (reports, traces)
}

/// A row without its offset and what follows it, and without the ids of a link to another trace.
fn row(line: &str) -> String {
    let line = line.trim_start_matches(['│', '├', '└', '─', ' ']);
    let words = line.split_whitespace();
    let words: Vec<_> = words.take_while(|word| !word.starts_with('+') && !word.contains('/')).collect();
    words.join(" ")
}

#[test]
fn tasks_are_children_and_unawaited_work_is_linked() {
    let (reports, traces) = section("Spawned tasks");
    assert_eq!(reports, ["signed in user 7 with 5eed"]);
    let mut caller = traces[0].clone();
    assert_eq!(caller.remove(0), "sign in internal");
    // The order of the two is not deterministic.
    caller.sort_unstable();
    assert_eq!(caller, ["hash password internal", "load_user internal", "user.id=7"]);
    assert_eq!(traces[1..], [["refresh cache internal", "→ link to"]]);
    assert!(!OUTPUT.contains("secret"), "an argument that is not listed is not recorded");
}

#[test]
fn a_failure_cancels_its_siblings() {
    let (reports, traces) = section("The first failure");
    assert_eq!(reports, ["100 rows in 2 shards", "4 shards were not counted: connection refused"]);
    let shard = "count shard internal";
    assert_eq!(traces[0], ["count rows internal", shard, shard]);
    assert_eq!(
        traces[1],
        [
            "✗ count rows internal",
            "✗ connection_refused",
            shard,
            shard,
            "✗ count shard internal",
            "✗ connection_refused",
            "✗ count shard internal",
            "✗ cancelled",
            "task.cancellation.reason=sibling_failed",
        ]
    );
}

#[test]
fn a_pipeline_continues_traces_and_a_batch_links_to_them() {
    let (reports, traces) = section("A pipeline");
    assert_eq!(reports, ["2 rows stored in one batch, 1 line not parsed"]);
    let link = "→ link to read line in this trace";
    let mut lines = traces[..3].to_vec();
    lines.sort_unstable();
    assert_eq!(lines[0], ["read line internal", "process lines consumer", link]);
    assert_eq!(lines[1], lines[0]);
    assert_eq!(lines[2], ["read line internal", "✗ process lines consumer", "✗ _OTHER", link]);
    assert_eq!(traces[3..], [["process rows consumer", "→ link to", "→ link to"]]);
}

#[test]
fn a_pool_survives_a_panic() {
    let (reports, traces) = section("A pool");
    assert_eq!(reports, ["3 images resized, 1 broken"]);
    let mut rows = traces[0].clone();
    rows.sort_unstable();
    assert_eq!(
        rows,
        [
            "resize images internal",
            "resize internal",
            "resize internal",
            "resize internal",
            "✗ panic",
            "✗ resize internal"
        ]
    );
}

#[test]
fn an_argument_is_refused() {
    let output = Command::new(env!("CARGO_BIN_EXE_concurrency")).arg("--help").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}
