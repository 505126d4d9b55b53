//! The variables of the process, which the SDK and the exporters read themselves: with `with_env` they have no effect.

use std::process::Command;

use opentelemetry::trace::{Span as _, Tracer, TracerProvider};
use otel_telemetry::{Exporter, OtlpOptions, Signal, Telemetry};

use crate::requests::Requests;
use crate::support::{end_spans, quiet};
use otel_testing::{ExporterBehavior, ScriptedExporter};

/// Set in the process that has the other variables.
const CHILD: &str = "TEST_WITH_VARIABLES";

const VARIABLE: &str = "OTEL_EXPORTER_OTLP_HEADERS";

/// Runs a test of this file again, in a process with variables in its environment.
fn in_child(test: &str) -> bool {
    if std::env::var_os(CHILD).is_some() {
        return false;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, "1")
        .env("OTEL_SPAN_EVENT_COUNT_LIMIT", "0")
        .env(VARIABLE, "x-process=1,x-broken=%zz,x-both=process,user-agent=process")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "the name of the test is {test}");
    true
}

#[tokio::test]
async fn with_env_isolates_headers() {
    if in_child("process_environment::with_env_isolates_headers") {
        return;
    }
    for protocol in ["grpc", "http/protobuf"] {
        let (address, requests) = Requests::serve().await;
        let endpoint = format!("http://{address}");
        let telemetry = quiet()
            .with_exporter(Signal::Traces, Exporter::Otlp)
            .with_otlp(OtlpOptions::default().with_header("X-Code", "code").with_header("x-both", "code"))
            .with_env([
                ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
                (VARIABLE, "x-given=a%20b,x-broken,x-both=given"),
            ])
            .build()
            .unwrap();
        end_spans(&telemetry, 1);
        telemetry.flush().await.unwrap();
        let headers = requests.only();
        let value = |name: &str| headers.get(name).map(|value| value.to_str().unwrap());
        assert_eq!(
            ["x-code", "x-given", "x-both", "x-process", "x-broken"].map(value),
            [Some("code"), Some("a b"), Some("given"), None, None],
            "{protocol}"
        );
        let agent = value("user-agent").unwrap_or_default();
        assert!(!agent.contains("process"), "{protocol}: {agent}");
        let content = value("content-type").unwrap();
        assert!(content == "application/grpc" || content == "application/x-protobuf", "{content}");
        assert!(telemetry.shutdown().await.is_complete());
    }
}

/// Without `with_env` the variable of the process counts, but for its malformed entries.
#[tokio::test]
async fn a_malformed_entry_of_the_process_is_not_sent() {
    if in_child("process_environment::a_malformed_entry_of_the_process_is_not_sent") {
        return;
    }
    let (address, requests) = Requests::serve().await;
    let telemetry = Telemetry::builder()
        .with_exporters(Exporter::None)
        .with_exporter(Signal::Traces, Exporter::Otlp)
        .with_otlp(OtlpOptions::default().with_endpoint(format!("http://{address}")))
        .build()
        .unwrap();
    let [problem] = telemetry.env_problems() else { panic!("{:?}", telemetry.env_problems()) };
    assert_eq!((problem.variable.as_str(), problem.effect.as_str()), (VARIABLE, "entry 2 is not sent"));
    end_spans(&telemetry, 1);
    telemetry.flush().await.unwrap();
    let headers = requests.only();
    assert_eq!(
        (&headers["x-process"], &headers["x-both"]),
        (&"1".parse().unwrap(), &"process".parse().unwrap())
    );
    assert!(!headers.contains_key("x-broken"), "{headers:?}");
    assert_eq!(headers["user-agent"], "process", "a valid entry counts, whatever its name");
}

#[test]
fn with_env_isolates_limits() {
    if in_child("process_environment::with_env_isolates_limits") {
        return;
    }
    for (isolated, events) in [(true, 1), (false, 0)] {
        let exporter = ScriptedExporter::new(ExporterBehavior::Accept);
        let builder = if isolated { quiet() } else { Telemetry::builder().with_exporters(Exporter::None) };
        let telemetry = builder.with_span_exporter(exporter.clone()).build().unwrap();
        let mut span = telemetry.tracer_provider().tracer("test").start("span");
        span.add_event("event", Vec::new());
        span.end();
        drop(telemetry);
        assert_eq!(exporter.spans()[0].events.len(), events);
    }
}
