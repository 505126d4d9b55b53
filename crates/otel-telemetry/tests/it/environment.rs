//! The precedence of the environment over code, and the independence of several set-ups.

use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{Span as _, Tracer, TracerProvider};
use otel_telemetry::sampler::Sampler;
use otel_telemetry::{Detector, Exporter, OtlpOptions, Protocol, SetupError, Telemetry};

use crate::support::{end_spans, quiet};
use otel_testing::{ExporterBehavior, ScriptedExporter};

/// Returns the resource from the debug output of the provider, which has no accessor for it.
fn resource(telemetry: &Telemetry) -> String {
    format!("{:?}", telemetry.tracer_provider())
}

#[test]
fn invalid_values_are_reported_and_ignored() {
    let exporter = ScriptedExporter::new(ExporterBehavior::Accept);
    let telemetry = quiet()
        .with_env([
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_TRACES_SAMPLER", "sometimes"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "many"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ])
        .with_span_exporter(exporter.clone())
        .with_exporter(otel_telemetry::Signal::Logs, Exporter::Otlp)
        .build()
        .unwrap();
    let mut variables: Vec<_> =
        telemetry.env_problems().iter().map(|problem| problem.variable.as_str()).collect();
    variables.sort_unstable();
    assert_eq!(
        variables,
        [
            "OTEL_BSP_MAX_QUEUE_SIZE",
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "OTEL_TRACES_EXPORTER",
            "OTEL_TRACES_SAMPLER",
        ]
    );
    end_spans(&telemetry, 1);
    drop(telemetry);
    assert_eq!(exporter.accepted(), 1, "the code's exporter and sampler count");
}

#[test]
fn under_strict_env_they_are_an_error_that_names_them_all() {
    let error = quiet()
        .with_env([("OTEL_TRACES_EXPORTER", "zipkin"), ("OTEL_BSP_SCHEDULE_DELAY", "-1")])
        .strict_env()
        .build()
        .unwrap_err();
    assert!(matches!(&error, SetupError::Environment(problems) if problems.len() == 2));
    let text = error.to_string();
    assert!(text.contains("zipkin") && text.contains("console, none"), "{text}");
}

#[test]
fn the_environment_wins_over_code() {
    let exporter = ScriptedExporter::new(ExporterBehavior::Accept);
    let telemetry = quiet()
        .with_env([
            ("OTEL_SERVICE_NAME", "from-env"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=lesser,team=a%20b"),
            ("OTEL_TRACES_SAMPLER", "always_off"),
        ])
        .with_sampler(Sampler::always())
        .with_span_exporter(exporter.clone())
        .build()
        .unwrap();
    assert!(telemetry.env_problems().is_empty());
    let span = telemetry.tracer_provider().tracer("test").start("span");
    assert!(!span.span_context().is_sampled());
    let resource = resource(&telemetry);
    assert!(resource.contains("from-env") && resource.contains("a b"), "{resource}");
    assert!(!resource.contains("lesser"), "{resource}");
}

#[test]
fn an_exporter_named_by_the_environment_replaces_that_of_the_code() {
    let exporter = ScriptedExporter::new(ExporterBehavior::Accept);
    let telemetry = quiet()
        .with_env([("OTEL_TRACES_EXPORTER", "none")])
        .with_span_exporter(exporter.clone())
        .build()
        .unwrap();
    end_spans(&telemetry, 1);
    drop(telemetry);
    assert_eq!(exporter.accepted(), 0);
}

#[test]
fn detectors_can_be_switched_off_one_by_one() {
    let with_all = quiet().build().unwrap();
    for (detector, key) in [
        (Detector::ServiceInstance, "service.instance.id"),
        (Detector::Host, "host.arch"),
        (Detector::Os, "os.type"),
        (Detector::Process, "process.pid"),
        (Detector::Sdk, "telemetry.sdk.language"),
    ] {
        assert!(resource(&with_all).contains(key), "{key}");
        let without = quiet().without_detector(detector).build().unwrap();
        assert!(!resource(&without).contains(key), "{key}");
    }
}

#[test]
fn the_sampler_is_made_for_the_name_that_counts() {
    let telemetry = quiet()
        .with_env([("OTEL_SERVICE_NAME", "from-env")])
        .with_sampler_for(|service| {
            assert_eq!(service, "from-env");
            Sampler::never()
        })
        .build()
        .unwrap();
    let span = telemetry.tracer_provider().tracer("test").start("span");
    assert!(!span.span_context().is_sampled());
}

#[test]
fn a_disabled_sdk_exports_nothing_and_ends_well() {
    let exporter = ScriptedExporter::new(ExporterBehavior::Accept);
    let telemetry = quiet()
        .with_env([("OTEL_SDK_DISABLED", "true")])
        .with_span_exporter(exporter.clone())
        .build()
        .unwrap();
    end_spans(&telemetry, 3);
    let report = telemetry.shutdown_blocking(std::time::Duration::from_secs(5));
    assert!(report.is_complete(), "{report}");
    assert_eq!((report.spans.ended, exporter.accepted()), (0, 0));
}

#[test]
fn two_live_side_by_side() {
    let exporters =
        [ScriptedExporter::new(ExporterBehavior::Accept), ScriptedExporter::new(ExporterBehavior::Accept)];
    let [one, other] =
        exporters.clone().map(|exporter| quiet().with_span_exporter(exporter).build().unwrap());
    end_spans(&one, 1);
    drop(one);
    end_spans(&other, 2);
    drop(other);
    assert_eq!(exporters.map(|exporter| exporter.accepted()), [1, 2]);
}

#[test]
fn what_code_gets_wrong_is_an_error_of_the_set_up() {
    let build = |options| quiet().with_exporters(Exporter::Otlp).with_otlp(options).build();
    for protocol in [Protocol::Grpc, Protocol::HttpProtobuf] {
        let options = OtlpOptions::default().with_protocol(protocol);
        let broken = build(options.clone().with_endpoint("http://["));
        assert!(matches!(broken, Err(SetupError::Exporter { .. })), "{protocol:?}");
        let header = build(options.clone().with_header("no header", "secret")).unwrap_err();
        assert!(matches!(&header, SetupError::Header { name } if name == "no header"), "{protocol:?}");
        assert!(!header.to_string().contains("secret"), "{header}");
        if cfg!(not(feature = "tls")) {
            let encrypted = build(options.with_endpoint("https://localhost:4318"));
            assert!(encrypted.is_err(), "{protocol:?}");
        }
    }
}

#[test]
fn credentials_are_not_shown() {
    let options = OtlpOptions::default().with_header("authorization", "secret");
    assert!(format!("{options:?}").contains("authorization"));
    let telemetry = quiet()
        .with_exporters(Exporter::Otlp)
        .with_env([
            ("OTEL_EXPORTER_OTLP_HEADERS", "no header=secret"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://user:secret@collector"),
        ])
        .build()
        .unwrap();
    assert_eq!(telemetry.env_problems().len(), 2);
    let shown = format!("{options:?} {:?}", telemetry.env_problems());
    assert!(!shown.contains("secret"), "{shown}");
}

#[test]
fn a_collector_that_is_only_exported_to_if_it_is_configured() {
    for (endpoint, is_exported) in [("", false), ("http://[", false), ("http://127.0.0.1:1", true)] {
        let telemetry = quiet()
            .with_exporters(Exporter::OtlpIfConfigured)
            .with_env([("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", endpoint)])
            .build()
            .unwrap();
        end_spans(&telemetry, 1);
        assert_eq!(telemetry.span_counts().ended == 1, is_exported, "{endpoint}");
    }
}

#[test]
fn the_propagator_is_the_environments_without_any_global() {
    let fields = |telemetry: &Telemetry| {
        telemetry.propagator().fields().map(str::to_owned).collect::<std::collections::BTreeSet<_>>()
    };
    let by_default = quiet().build().unwrap();
    assert!(fields(&by_default).contains("traceparent") && fields(&by_default).contains("baggage"));
    let chosen = quiet().with_env([("OTEL_PROPAGATORS", "b3,jaeger")]).build().unwrap();
    assert_eq!(fields(&chosen), ["b3".to_owned()].into());
    assert_eq!(chosen.env_problems()[0].value, "jaeger");
}
