//! Zero, invalid and unsupported values of variables: what applies in their place, and what is reported.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::{Span as _, Tracer, TracerProvider};
use otel_telemetry::{Exporter, HealthStatus, OtlpOptions, SetupError, Signal};

use crate::requests::Requests;
use crate::support::{end_spans, quiet};
use otel_testing::{ExporterBehavior, ScriptedExporter};

#[test]
fn under_strict_env_an_invalid_endpoint_is_an_error() {
    let set_up = |endpoint| {
        let builder = quiet().with_exporter(Signal::Traces, Exporter::Otlp).strict_env();
        builder.with_env([("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)]).build()
    };
    let error = set_up("collector:4318").unwrap_err();
    assert!(matches!(&error, SetupError::Environment(problems) if problems.len() == 1));
    assert!(error.to_string().contains("OTEL_EXPORTER_OTLP_ENDPOINT"), "{error}");
    drop(set_up("http://127.0.0.1:1").unwrap());
}

/// A port that is too large would count as the default of the scheme, and the data would be sent there.
#[test]
fn an_invalid_endpoint_in_code_is_an_error() {
    let set_up = |endpoint| {
        let options = OtlpOptions::default().with_endpoint(endpoint);
        quiet().with_exporter(Signal::Traces, Exporter::Otlp).with_otlp(options).build()
    };
    for endpoint in ["", "/x", "ftp://127.0.0.1", "127.0.0.1:4318", "http://127.0.0.1:99999", "http://"] {
        let error = set_up(endpoint).expect_err(endpoint);
        assert!(matches!(error, SetupError::Exporter { signal: Signal::Traces, .. }), "{endpoint}: {error}");
    }
    drop(set_up("http://127.0.0.1:1").unwrap());
}

#[tokio::test]
async fn the_path_of_a_signal_goes_before_the_query_of_the_base_url() {
    for (base, path) in [("/base/?token=1", "/base/v1/traces?token=1"), ("/base#part", "/base/v1/traces")] {
        let (address, requests) = Requests::serve().await;
        let telemetry = quiet()
            .with_exporter(Signal::Traces, Exporter::Otlp)
            .with_env([("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{address}{base}"))])
            .build()
            .unwrap();
        end_spans(&telemetry, 1);
        telemetry.flush().await.unwrap();
        assert_eq!(requests.targets(), [path]);
        drop(telemetry.shutdown().await);
    }
}

/// A wrong `content-length` would end the request early, and the collector would take the rest for the next one.
#[tokio::test]
async fn headers_that_change_where_a_request_ends_are_not_sent() {
    let (address, requests) = Requests::serve().await;
    let telemetry = quiet()
        .with_exporter(Signal::Traces, Exporter::Otlp)
        .with_env([
            ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{address}")),
            ("OTEL_EXPORTER_OTLP_HEADERS", "content-length=1,Transfer-Encoding=chunked,a=1".to_owned()),
        ])
        .build()
        .unwrap();
    let effects: Vec<_> = telemetry.env_problems().iter().map(|problem| &*problem.effect).collect();
    assert_eq!(effects, ["entry 1 is not sent", "entry 2 is not sent"]);
    end_spans(&telemetry, 3);
    telemetry.flush().await.unwrap();
    let headers = requests.only();
    assert_eq!(headers["a"], "1");
    assert_ne!(headers["content-length"], "1");
    assert!(!headers.contains_key("transfer-encoding"), "{headers:?}");
    let in_code = OtlpOptions::default().with_header("content-length", "1");
    let builder = quiet().with_exporter(Signal::Traces, Exporter::Otlp).with_otlp(in_code);
    assert!(matches!(builder.build(), Err(SetupError::Header { .. })));
}

#[test]
fn the_query_of_an_invalid_endpoint_is_not_shown() {
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318?key=secret")];
    let telemetry =
        quiet().with_exporter(Signal::Traces, Exporter::Otlp).with_env(variables).build().unwrap();
    let problem = telemetry.env_problems()[0].to_string();
    assert!(problem.contains("OTEL_EXPORTER_OTLP_ENDPOINT") && !problem.contains("secret"), "{problem}");
}

#[tokio::test]
async fn a_signal_whose_endpoint_is_invalid_is_off_and_the_health_shows_it() {
    let (address, requests) = Requests::serve().await;
    let general = format!("http://{address}");
    let telemetry = quiet()
        .with_exporter(Signal::Traces, Exporter::Otlp)
        .with_exporter(Signal::Metrics, Exporter::Otlp)
        .with_otlp(OtlpOptions::default().with_endpoint(&general))
        .with_env([
            ("OTEL_EXPORTER_OTLP_ENDPOINT", general.as_str()),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "collector:4318/v1/traces"),
        ])
        .build()
        .unwrap();
    let ready = telemetry.health().ready().await;
    assert_eq!(ready.status, HealthStatus::Degraded);
    let reason = ready.details["exporter.traces"].reason.as_deref().unwrap();
    assert!(reason.contains("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), "{reason}");
    assert_eq!(telemetry.env_problems().len(), 1);
    end_spans(&telemetry, 3);
    telemetry.meter_provider().meter("test").u64_counter("count").build().add(1, &[]);
    let report = telemetry.shutdown().await;
    assert!(report.is_complete(), "{report}");
    assert_eq!(report.spans.ended, 0);
    assert_eq!(requests.paths(), ["/v1/metrics"], "no span goes to the endpoint of the other signals");
}

#[tokio::test]
async fn a_timeout_of_zero_lets_exports_finish() {
    for protocol in ["grpc", "http/protobuf"] {
        let (address, _requests) = Requests::serve().await;
        let endpoint = format!("http://{address}");
        let telemetry = quiet()
            .with_exporter(Signal::Traces, Exporter::Otlp)
            .with_exporter(Signal::Metrics, Exporter::Otlp)
            .with_env([
                ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
                ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
                ("OTEL_BSP_EXPORT_TIMEOUT", "0"),
                ("OTEL_METRIC_EXPORT_TIMEOUT", "0"),
            ])
            .strict_env()
            .build()
            .unwrap();
        end_spans(&telemetry, 10);
        telemetry.meter_provider().meter("test").u64_counter("count").build().add(1, &[]);
        telemetry.flush().await.unwrap_or_else(|failed| panic!("{protocol}: {failed:?}"));
        let report = telemetry.shutdown().await;
        assert!(report.is_complete(), "{protocol}: {report}");
        assert_eq!(report.spans.accepted, 10, "{protocol}");
    }
}

#[tokio::test]
async fn an_interval_and_a_queue_of_zero_are_reported_and_ignored() {
    let (address, requests) = Requests::serve().await;
    let exporter = ScriptedExporter::new(ExporterBehavior::Slow(Duration::from_millis(20)));
    let telemetry = quiet()
        .with_exporter(Signal::Metrics, Exporter::Otlp)
        .with_otlp(OtlpOptions::default().with_endpoint(format!("http://{address}")))
        .with_span_exporter(exporter.clone())
        .with_env([
            ("OTEL_METRIC_EXPORT_INTERVAL", "0"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
            ("OTEL_BSP_SCHEDULE_DELAY", "0"),
        ])
        .build()
        .unwrap();
    let mut variables: Vec<_> = telemetry.env_problems().iter().map(|problem| &*problem.variable).collect();
    variables.sort_unstable();
    assert_eq!(
        variables,
        ["OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_SCHEDULE_DELAY", "OTEL_METRIC_EXPORT_INTERVAL"]
    );
    telemetry.meter_provider().meter("test").u64_counter("count").build().add(1, &[]);
    end_spans(&telemetry, 100);
    let report = telemetry.shutdown().await;
    assert_eq!((report.spans.accepted, exporter.accepted()), (100, 100), "{report}");
    assert_eq!(requests.paths().len(), 1, "the metrics of the shutdown alone");
}

#[test]
fn limits_of_spans_apply() {
    let exporter = ScriptedExporter::new(ExporterBehavior::Accept);
    let telemetry = quiet()
        .with_env([
            ("OTEL_ATTRIBUTE_COUNT_LIMIT", "3"),
            ("OTEL_SPAN_EVENT_COUNT_LIMIT", "2"),
            ("OTEL_SPAN_LINK_COUNT_LIMIT", "0"),
            ("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "1"),
        ])
        .map_tracer_provider(|builder| builder.with_max_events_per_span(7))
        .with_span_exporter(exporter.clone())
        .strict_env()
        .build()
        .unwrap();
    let mut span = telemetry.tracer_provider().tracer("test").start("span");
    let attributes = || (0..5).map(|number| KeyValue::new(format!("a{number}"), number)).collect::<Vec<_>>();
    span.set_attributes(attributes());
    for _ in 0..5 {
        span.add_event("event", attributes());
    }
    span.end();
    drop(telemetry);
    let spans = exporter.spans();
    assert_eq!((spans[0].attributes.len(), spans[0].events.len()), (3, 2));
    assert_eq!(spans[0].events[0].attributes.len(), 1);
}

/// A warning names each variable that has no effect; it is no error under `strict_env`, because its value is valid.
#[test]
fn unsupported_variables_are_warned_by_name() {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let subscriber = tracing_subscriber::fmt().with_writer(Arc::new(writer)).finish();
    let telemetry = tracing::subscriber::with_default(subscriber, || {
        let variables = [
            ("OTEL_LOG_LEVEL", "debug"),
            ("OTEL_EXPORTER_PROMETHEUS_PORT", "9464"),
            ("OTEL_EXPORTER_ZIPKIN_ENDPOINT", "http://user:secret@zipkin"),
            ("OTEL_METRICS_EXEMPLAR_FILTER", ""),
        ];
        quiet().with_env(variables).strict_env().build().unwrap()
    });
    let mut written = String::new();
    reader.read_to_string(&mut written).unwrap();
    for name in ["OTEL_LOG_LEVEL", "OTEL_EXPORTER_PROMETHEUS_PORT", "OTEL_EXPORTER_ZIPKIN_ENDPOINT"] {
        assert!(written.lines().any(|line| line.contains("WARN") && line.contains(name)), "{written}");
    }
    assert!(!written.contains("secret"), "{written}");
    assert_eq!(telemetry.env_problems().len(), 3);
    assert!(telemetry.env_problems().iter().all(otel_telemetry::EnvProblem::is_unsupported));
}
