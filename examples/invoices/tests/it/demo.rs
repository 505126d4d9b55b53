//! The demonstration: its reports and its pictures, without their times.

use std::process::Output;
use std::sync::LazyLock;

use crate::picture::Picture;
use crate::{START, broker, program};

static RUN: LazyLock<Run> =
    LazyLock::new(|| Run::parse(&program(&["--broker", &broker()]).output().unwrap()));

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
fn each_message_of_a_work_queue_has_one_worker() {
    let rows = |clerk: &str| {
        [
            "publish invoices desk producer".to_owned(),
            "│  messaging.rabbitmq.message.confirmation=ack".to_owned(),
            format!("└─ process demo.invoices {clerk} consumer"),
            "   │  → link to publish invoices in this trace".to_owned(),
            format!("   └─ ack demo.invoices {clerk} client"),
            "         → link to publish invoices in this trace".to_owned(),
        ]
    };
    let [ada, bob] = ["ada", "bob"].map(rows);
    check(
        "Each message of a work queue",
        &["desk       orders \"book, 18 EUR\"", "ada        writes an invoice for \"book, 18 EUR\""],
        &ada.each_ref().map(String::as_str),
    );
    check(
        "The next message",
        &["desk       orders \"lamp, 40 EUR\"", "bob        writes an invoice for \"lamp, 40 EUR\""],
        &bob.each_ref().map(String::as_str),
    );
}

#[test]
fn a_dead_letter_stays_in_its_trace() {
    // Either worker can be the next one.
    let clerk = if RUN.output.contains("  bob        finds no total") { "bob" } else { "ada" };
    let process = format!("├─ ✗ process demo.invoices {clerk} consumer");
    let reject = format!("│  └─ reject demo.invoices {clerk} client");
    check(
        "A message that is rejected",
        &[
            "desk       orders \"chair\"",
            &format!("{clerk}        finds no total in \"chair\""),
            "complaints asks for the total of \"chair\"",
        ],
        &[
            "publish invoices desk producer",
            "│  messaging.rabbitmq.message.confirmation=ack",
            &process,
            "│  │  ✗ no_total",
            "│  │  → link to publish invoices in this trace",
            &reject,
            "│        → link to publish invoices in this trace",
            "└─ process demo.rejected complaints consumer",
            "   │  → link to publish invoices in this trace",
            "   │  messaging.rabbitmq.message.death_count=1",
            "   │  messaging.rabbitmq.message.first_death_queue=demo.invoices",
            "   └─ ack demo.rejected complaints client",
            "         → link to publish invoices in this trace",
        ],
    );
}

#[test]
fn a_payment_is_processed_by_each_follower_in_its_trace() {
    // The order of the two is not deterministic.
    let (_, rest) = RUN.output.split_once("A topic exchange copies").unwrap();
    let rows = Picture::all(rest)[0].rows.clone();
    let mut names: Vec<_> =
        rows.iter().map(|row| row.trim_start_matches(['│', '├', '└', '─', ' '])).collect();
    assert_eq!(names.remove(0), "publish payments:paid.eu desk producer");
    names.sort_unstable();
    let link = "→ link to publish payments:paid.eu in this trace";
    let expected = [
        "ack demo.books books client",
        "ack demo.taxes taxes client",
        "messaging.rabbitmq.message.confirmation=ack",
        "process demo.books books consumer",
        "process demo.taxes taxes consumer",
        link,
        link,
        link,
        link,
    ];
    assert_eq!(names, expected);
    let reports = "which is confirmed\n  books      books 18 EUR under paid.eu\n  taxes      books 18 EUR under paid.eu\n";
    assert!(rest.contains(reports), "{rest}");
}

#[test]
fn a_returned_message_is_a_failure() {
    check(
        "A mandatory message",
        &["desk       publishes lost.eu, which is returned"],
        &[
            "✗ publish payments:lost.eu producer",
            "   ✗ NO_ROUTE",
            "   messaging.rabbitmq.message.confirmation=returned",
        ],
    );
}

#[test]
fn a_request_and_its_reply_are_one_trace() {
    let (_, rest) = RUN.output.split_once("A request and its reply").unwrap();
    assert!(rest.contains("  rates      knows USD\n  desk       gets 1.09\n"), "{rest}");
    let rows = Picture::all(rest)[0].rows.clone();
    let spans: Vec<_> = rows
        .iter()
        .filter(|row| !row.contains(['→', '=']))
        .map(|row| row.trim_start_matches("   "))
        .collect();
    // The picture shortens the name of the queue of replies.
    let expected = [
        "publish rates desk producer",
        "└─ process demo.rates rates consumer",
        "├─ publish amq.rabbitmq.reply-to rates producer",
        "│  └─ process amq.rabbitmq.reply-… desk consumer",
        "└─ ack demo.rates rates client",
    ];
    assert_eq!(spans, expected, "{}", RUN.output);
}

#[test]
fn each_trace_is_drawn_once_and_completely() {
    let mut ids: Vec<_> = RUN.pictures.iter().map(|picture| picture.id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    // One for each step.
    assert_eq!((RUN.pictures.len(), ids.len()), (6, 6), "{}", RUN.output);
    assert!(!RUN.output.contains("missing parent"), "{}", RUN.output);
}

#[test]
fn the_services_do_the_same_without_telemetry() {
    for (variable, value) in [("OTEL_TRACES_SAMPLER", "always_off"), ("OTEL_SDK_DISABLED", "true")] {
        let output = program(&["--broker", &broker()]).env(variable, value).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let output = String::from_utf8(output.stdout).unwrap();
        assert!(output.contains("  complaints asks for the total of \"chair\"\n"), "{output}");
        assert!(output.ends_with("  desk       gets 1.09\n\n"), "{output}");
        assert!(Picture::all(&output).is_empty(), "{output}");
    }
}

/// Without an address the program asks the xtask, which finds the broker of `RABBITMQ_URL`.
#[test]
fn without_an_address_the_xtask_finds_the_broker() {
    let output = program(&[]).env("RABBITMQ_URL", broker()).output().unwrap();
    assert!(output.status.success(), "{output:#?}");
    assert_eq!(Picture::all(&String::from_utf8(output.stdout).unwrap()).len(), 6);
}
