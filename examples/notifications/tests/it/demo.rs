//! The demonstration: its reports and its pictures, without their times.

use std::process::Output;
use std::sync::LazyLock;

use crate::picture::Picture;
use crate::{START, program, server};

static RUN: LazyLock<Run> =
    LazyLock::new(|| Run::parse(&program(&["--server", &server()]).output().unwrap()));

struct Run {
    /// The standard output, without the number of the run.
    output: String,
    pictures: Vec<Picture>,
}

impl Run {
    fn parse(output: &Output) -> Self {
        assert!(output.status.success(), "{output:#?}: {START}");
        assert!(output.stderr.is_empty(), "{output:#?}");
        let output = std::str::from_utf8(&output.stdout).unwrap();
        let prefix = output.lines().find_map(|line| line.split_once(" have the prefix ")).unwrap().1;
        let output = output.replace(prefix.trim_end_matches('.'), "demo");
        let pictures = Picture::all(&output);
        Self { output, pictures }
    }
}

/// Checks the reports of a step and the rows of its only trace.
#[track_caller]
fn check(step: &str, reports: &[&str], rows: &[&str]) {
    let (_, rest) = RUN.output.split_once(step).unwrap_or_else(|| panic!("no `{step}` in {}", RUN.output));
    let lines: Vec<_> = rest.lines().skip(1).take_while(|line| !line.is_empty()).map(str::trim).collect();
    assert_eq!(lines, reports);
    let picture = &Picture::all(rest)[0];
    assert_eq!(picture.rows, rows, "{}", RUN.output);
}

#[test]
fn an_alert_is_processed_by_each_subscriber_in_its_trace() {
    // The order of the two is not deterministic.
    let (_, rest) = RUN.output.split_once("An alert is one trace").unwrap();
    let mut rows = Picture::all(rest)[0].rows.clone();
    assert_eq!(rows.remove(0), "publish alerts.storm desk producer");
    let mut names: Vec<_> =
        rows.iter().map(|row| row.trim_start_matches(['│', '├', '└', '─', ' '])).collect();
    names.sort_unstable();
    let link = "→ link to publish alerts.storm in this trace";
    assert_eq!(
        names,
        ["process demo.alerts.* gate consumer", "process demo.alerts.* hall consumer", link, link]
    );
    assert!(rest.contains("  hall     shows \"storm\"\n  gate     shows \"storm\"\n"), "{rest}");
}

#[test]
fn a_request_and_its_response_are_one_trace() {
    check(
        "A request lasts",
        &["people   knows ada", "desk     gets \"12 Square\""],
        &[
            "request people.address desk client",
            "└─ process people.address people consumer",
            "   │  → link to request people.address in this trace",
            "   └─ publish _INBOX people producer",
        ],
    );
}

#[test]
fn an_error_of_the_service_is_a_failure_on_both_sides() {
    check(
        "An error of the service",
        &["people   does not know grace", "desk     gets \"error: no such person\""],
        &[
            "✗ request people.address desk client",
            "│  ✗ 404: no such person",
            "└─ ✗ process people.address people consumer",
            "   │  ✗ 404: no such person",
            "   │  → link to request people.address in this trace",
            "   └─ publish _INBOX people producer",
        ],
    );
}

#[test]
fn a_redelivery_is_a_second_attempt_in_the_same_trace() {
    check(
        "A letter is stored",
        &[
            "desk     posts \"dear ada\"",
            "printer  has no paper for \"dear ada\"",
            "printer  prints \"dear ada\"",
        ],
        &[
            "publish letters desk producer",
            "├─ ✗ process LETTERS_demo printer consumer",
            "│  │  ✗ out_of_paper",
            "│  │  → link to publish letters in this trace",
            "│  │  messaging.nats.message.delivery_count=1",
            "│  └─ nak LETTERS_demo printer client",
            "│        → link to publish letters in this trace",
            "│        messaging.nats.message.delivery_count=1",
            "└─ process LETTERS_demo printer consumer",
            "   │  → link to publish letters in this trace",
            "   │  messaging.nats.message.delivery_count=2",
            "   └─ ack LETTERS_demo printer client",
            "         → link to publish letters in this trace",
            "         messaging.nats.message.delivery_count=2",
        ],
    );
}

#[test]
fn an_update_is_processed_in_the_trace_of_its_put() {
    check(
        "The update of a setting",
        &["desk     puts light = green", "lamp     sets light to green"],
        &[
            "put $KV.settings_demo desk client",
            "└─ process $KV.settings_demo lamp consumer",
            "      → link to put $KV.settings_demo in this trace",
            "      messaging.nats.message.delivery_count=1",
        ],
    );
}

#[test]
fn each_trace_is_drawn_once_and_completely() {
    let mut ids: Vec<_> = RUN.pictures.iter().map(|picture| picture.id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    // The start of the watch, and one for each step.
    assert_eq!((RUN.pictures.len(), ids.len()), (6, 6), "{}", RUN.output);
    assert!(!RUN.output.contains("missing parent"), "{}", RUN.output);
}

#[test]
fn the_services_do_the_same_without_telemetry() {
    for (variable, value) in [("OTEL_TRACES_SAMPLER", "always_off"), ("OTEL_SDK_DISABLED", "true")] {
        let output = program(&["--server", &server()]).env(variable, value).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let output = String::from_utf8(output.stdout).unwrap();
        assert!(output.contains("  printer  prints \"dear ada\"\n"), "{output}");
        assert!(output.ends_with("  lamp     sets light to green\n\n"), "{output}");
        assert!(Picture::all(&output).is_empty(), "{output}");
    }
}

/// Without an address the program asks the xtask, which finds the server of `NATS_URL`.
#[test]
fn without_an_address_the_xtask_finds_the_server() {
    let output = program(&[]).env("NATS_URL", server()).output().unwrap();
    assert!(output.status.success(), "{output:#?}");
    assert_eq!(Picture::all(&String::from_utf8(output.stdout).unwrap()).len(), 6);
}
