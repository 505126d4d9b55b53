//! The demonstration: its responses, its traces and its metrics.

use std::sync::LazyLock;

use crate::{Picture, program};

static OUTPUT: LazyLock<String> = LazyLock::new(|| {
    let output = program(&[]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
});

/// The response and the picture after the description of a request.
fn after(about: &str) -> (&'static str, Picture) {
    let (_, rest) = OUTPUT.split_once(about).unwrap_or_else(|| panic!("no `{about}` in {}", *OUTPUT));
    let response = rest.lines().find_map(|line| line.strip_prefix("→ ")).unwrap();
    (response, Picture::all(rest).swap_remove(0))
}

#[test]
fn one_trace_goes_through_both_services() {
    let (response, trace) = after("A user is created, and an account for her.");
    assert!(response.starts_with("201 Created {\"id\":1,"), "{response}");
    assert_eq!(trace.rows.len(), 3, "{trace:#?}");
    assert!(trace.rows[0].starts_with("POST /users "), "{trace:#?}");
    assert!(trace.rows[1].starts_with("└─ POST /accounts "), "{trace:#?}");
    assert!(trace.rows[2].starts_with("   └─ POST /accounts "), "{trace:#?}");
    for (row, service, kind) in [(0, "users", "server"), (1, "users", "client"), (2, "accounts", "server")] {
        let words: Vec<_> = trace.rows[row].split_whitespace().collect();
        assert!(words.windows(2).any(|pair| pair == [service, kind]), "{trace:#?}");
    }
}

#[test]
fn each_request_is_one_trace() {
    let pictures = Picture::all(&OUTPUT);
    let mut ids: Vec<_> = pictures.iter().map(|picture| picture.id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((pictures.len(), ids.len()), (12, 12), "{}", *OUTPUT);
    assert!(!OUTPUT.contains("missing parent"), "{}", *OUTPUT);
}

#[test]
fn a_4xx_response_is_not_an_error_of_the_server() {
    for (about, status) in
        [("No user has this ID", "404"), ("Her email is taken", "409"), ("This is not an email", "422")]
    {
        let (response, trace) = after(about);
        assert!(response.starts_with(status), "{response}");
        assert_eq!(trace.rows.len(), 1, "{trace:#?}");
        assert!(!trace.rows[0].contains('✗'), "{trace:#?}");
    }
}

#[test]
fn an_upstream_error_is_marked_on_each_span() {
    let (response, trace) = after("A third account exceeds the limit.");
    assert!(response.starts_with("503"), "{response}");
    trace.row("✗ POST /users ");
    let calls = trace.rows.iter().filter(|row| row.contains("─ ✗ POST /accounts ")).count();
    assert_eq!(calls, 2, "{trace:#?}");
}

#[test]
fn a_panic_is_recorded() {
    let (response, trace) = after("The handler panics.");
    assert_eq!(response, "the connection was closed");
    trace.row("✗ GET /users/{id}/initials ");
    trace.row("✗ panic");
}

#[test]
fn both_services_stop_when_the_caller_disconnects() {
    let (response, trace) = after("The caller closes the connection");
    assert_eq!(response, "200 OK   1  0.00");
    let cancelled = trace.rows.iter().filter(|row| row.ends_with("✗ cancelled")).count();
    assert_eq!(cancelled, 2, "{trace:#?}");
    assert!(trace.rows.iter().any(|row| row.contains("accounts server")), "{trace:#?}");
}

#[test]
fn the_metrics_of_both_services_are_printed() {
    let (_, metrics) = OUTPUT.split_once("metrics of users\n").unwrap();
    let (users, accounts) = metrics.split_once("metrics of accounts\n").unwrap();
    let count = |service: &str, metric: &str| -> u64 {
        let series =
            service.lines().skip_while(|line| line.split_whitespace().next() != Some(metric)).skip(1);
        let series = series.take_while(|line| line.starts_with("    "));
        series.map(|line| line.split_whitespace().next().unwrap().parse::<u64>().unwrap()).sum()
    };
    assert_eq!(count(users, "http.server.request.duration"), 12, "{users}");
    assert_eq!(count(users, "http.client.request.duration"), 6, "{users}");
    assert_eq!(count(accounts, "http.server.request.duration"), 6, "{accounts}");
    for (service, metric) in [
        (users, "http.server.active_requests"),
        (users, "http.client.active_requests"),
        (accounts, "http.server.active_requests"),
    ] {
        assert!(service.contains(metric), "{service}");
        assert_eq!(count(service, metric), 0, "{service}");
    }
    assert!(users.contains("error.type=panic") && users.contains("error.type=cancelled"), "{users}");
}

#[test]
fn an_unreachable_collector_and_invalid_variables_change_no_trace() {
    for protocol in ["grpc", "http/protobuf"] {
        let output = program(&[])
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
            .env("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd")
            .env("OTEL_EXPORTER_OTLP_HEADERS", "no header=secret")
            .env("OTEL_TRACES_SAMPLER", "sometimes")
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(Picture::all(std::str::from_utf8(&output.stdout).unwrap()).len(), 12);
        let stderr = String::from_utf8(output.stderr).unwrap();
        for variable in
            ["OTEL_EXPORTER_OTLP_COMPRESSION", "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_TRACES_SAMPLER"]
        {
            assert!(stderr.contains(&format!("WARN otel_telemetry::builder: {variable}=")), "{stderr}");
        }
        assert!(
            stderr.contains("18 of 18 spans were lost") && stderr.contains("6 of 6 spans were lost"),
            "{stderr}"
        );
        assert!(!stderr.contains("secret"), "{stderr}");
    }
}

#[test]
fn the_console_exporter_prints_every_drawn_span() {
    let output = program(&[])
        .env("OTEL_TRACES_EXPORTER", "console")
        .env("OTEL_METRICS_EXPORTER", "console")
        .env("OTEL_LOGS_EXPORTER", "none")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let output = String::from_utf8(output.stdout).unwrap();
    let pictures = Picture::all(&output);
    assert_eq!(pictures.len(), 12, "{output}");
    for picture in pictures {
        let printed = output.lines().filter(|line| line.contains("TraceId") && line.ends_with(&picture.id));
        let drawn = picture.rows.iter().filter(|row| row.contains(" server ") || row.contains(" client "));
        assert_eq!(printed.count(), drawn.count(), "{output}");
    }
}
