//! Export to a collector: the collector receives the same spans that the program draws.
//!
//! The tests need the collector that `cargo xtask services up collector` starts, and fail without it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::{Picture, program};

const START: &str = "start the collector: `cargo xtask services up collector`";

/// Timeout, long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Returns a variable from the environment or from the file that `cargo xtask services up` writes.
fn setting(name: &str) -> String {
    if let Ok(value) = std::env::var(name) {
        return value;
    }
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/services/env");
    let lines = std::fs::read_to_string(file)
        .unwrap_or_else(|_| panic!("{name} is not set and {file} does not exist: {START}"));
    let mut settings = lines.lines().filter_map(|line| line.strip_prefix("export ")?.split_once('='));
    let (_, value) = settings
        .find(|(key, _)| *key == name)
        .unwrap_or_else(|| panic!("{name} is set neither in the environment nor in {file}: {START}"));
    value.trim_matches('\'').to_owned()
}

/// A span as the collector printed it.
#[derive(Debug, Default)]
struct Span {
    service: String,
    trace: String,
    id: String,
    parent: String,
    name: String,
    kind: String,
    failed: bool,
    start: u64,
}

/// Parses the spans of these traces from the collector's log, which other tests share.
fn parse_log(log: &str, traces: &[&str]) -> Vec<Span> {
    let mut service = "";
    let mut spans: Vec<Span> = Vec::new();
    for line in log.lines() {
        let Some((key, value)) = line.split_once(": ") else { continue };
        let value = value.trim();
        if let (Some("service.name"), Some(name)) =
            (key.trim().strip_prefix("-> "), value.strip_prefix("Str("))
        {
            service = name.trim_end_matches(')');
        }
        if key.trim() == "Trace ID" {
            spans.push(Span { service: service.to_owned(), trace: value.to_owned(), ..Span::default() });
        }
        let Some(span) = spans.last_mut() else { continue };
        match key.trim() {
            "Parent ID" => span.parent = value.to_owned(),
            "ID" => span.id = value.to_owned(),
            "Name" => span.name = value.to_owned(),
            "Kind" => span.kind = value.trim_start_matches("SPAN_KIND_").to_lowercase(),
            "Start time" => span.start = value.parse().unwrap(),
            "Status code" => span.failed = value == "STATUS_CODE_ERROR",
            _ => {}
        }
    }
    // Log records have a trace ID as well, but no name.
    spans.retain(|span| traces.contains(&span.trace.as_str()) && !span.name.is_empty());
    spans
}

/// A drawn span: its depth in the tree, and its marks, name, service and kind.
#[derive(Debug, PartialEq)]
struct Row {
    depth: usize,
    text: String,
}

/// The spans of a picture, without the lines for their details.
fn drawn_rows(picture: &Picture) -> Vec<Row> {
    let rows = picture.rows.iter().filter_map(|row| {
        let text = row.trim_start_matches(['│', '├', '└', '─', ' ']);
        let depth = (row.chars().count() - text.chars().count()) / "└─ ".chars().count();
        let words: Vec<_> = text.split_whitespace().collect();
        let kind = words.iter().position(|word| ["server", "client"].contains(word))?;
        Some(Row { depth, text: words[..=kind].join(" ") })
    });
    rows.collect()
}

/// Formats the collector's spans of a trace like the picture: depth first, siblings by start time. A picture with a
/// single service omits the service.
fn expected_rows(spans: &[&Span], parent: &str, depth: usize, rows: &mut Vec<Row>) {
    let mut children: Vec<_> = spans.iter().filter(|span| span.parent == parent).collect();
    children.sort_by_key(|span| span.start);
    let single_service = spans.iter().all(|span| span.service == spans[0].service);
    for span in children {
        let mark = if span.failed { "✗ " } else { "" };
        let service = if single_service { String::new() } else { format!("{} ", span.service) };
        let text = format!("{mark}{} {service}{}", span.name, span.kind);
        rows.push(Row { depth, text });
        expected_rows(spans, &span.id, depth + 1, rows);
    }
}

/// Runs the demonstration and compares its pictures with the collector's spans, trace by trace.
fn compare(protocol: &str, endpoint: &str) {
    let output = program(&[])
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(!stderr.contains("WARN"), "{stderr}; {START}");
    let pictures = Picture::all(std::str::from_utf8(&output.stdout).unwrap());
    let traces: Vec<_> = pictures.iter().map(|picture| picture.id.as_str()).collect();
    assert_eq!(traces.len(), 12);
    let expected: BTreeMap<_, _> =
        pictures.iter().map(|picture| (picture.id.as_str(), drawn_rows(picture))).collect();
    let total: usize = expected.values().map(Vec::len).sum();

    let file = setting("COLLECTOR_LOG");
    let began = Instant::now();
    let spans = loop {
        let log = std::fs::read(&file).unwrap_or_else(|error| panic!("{file}: {error}; {START}"));
        let spans = parse_log(&String::from_utf8_lossy(&log), &traces);
        if spans.len() >= total && spans.iter().all(|span| span.start > 0) {
            break spans;
        }
        assert!(began.elapsed() < PATIENCE, "{} of {total} spans are in {file}: {spans:#?}", spans.len());
        // Polled, because another process writes the file.
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(spans.len(), total, "{spans:#?}");
    for service in ["users", "accounts"] {
        assert!(spans.iter().any(|span| span.service == service), "{service}: {spans:#?}");
    }
    for (trace, rows) in expected {
        let spans: Vec<_> = spans.iter().filter(|span| span.trace == trace).collect();
        let mut exported = Vec::new();
        expected_rows(&spans, "", 0, &mut exported);
        // The picture truncates long names with an ellipsis.
        for (exported, row) in exported.iter_mut().zip(&rows) {
            if let Some((start, rest)) = row.text.split_once('…')
                && exported.text.starts_with(start)
                && exported.text.ends_with(rest)
            {
                exported.text.clone_from(&row.text);
            }
        }
        assert_eq!(exported, rows, "{spans:#?}");
    }
}

#[test]
fn a_collector_receives_the_drawn_spans_over_grpc() {
    compare("grpc", &setting("COLLECTOR_OTLP_GRPC_URL"));
}

#[test]
fn a_collector_receives_the_drawn_spans_over_http() {
    compare("http/protobuf", &setting("COLLECTOR_OTLP_HTTP_URL"));
}
