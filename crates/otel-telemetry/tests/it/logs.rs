//! The bridge from `tracing`, in both directions.

use opentelemetry::Context;
use opentelemetry::logs::AnyValue;
use opentelemetry::trace::{FutureExt as _, TraceContextExt, Tracer, TracerProvider};
use opentelemetry_sdk::logs::InMemoryLogExporter;
use otel_telemetry::{Exporter, OtlpOptions, Protocol, Signal};
use tracing_subscriber::layer::SubscriberExt;

use crate::support::{Does, Hanging, Told, end_spans, quiet};

#[test]
fn events_carry_the_ids_of_the_span_that_is_current() {
    let logs = InMemoryLogExporter::default();
    let telemetry = quiet().with_log_exporter(logs.clone()).build().unwrap();
    let subscriber = tracing_subscriber::registry().with(telemetry.log_layer());
    let tracer = telemetry.tracer_provider().tracer("test");
    let cx = Context::new().with_span(tracer.start("span"));
    tracing::subscriber::with_default(subscriber, || {
        let _attached = cx.clone().attach();
        tracing::warn!(orders = 3, "something");
    });
    telemetry.logger_provider().force_flush().unwrap();
    let records = logs.get_emitted_logs().unwrap();
    assert_eq!(records.len(), 1);
    let record = &records[0].record;
    let ids = record.trace_context().unwrap();
    assert_eq!(ids.trace_id, cx.span().span_context().trace_id());
    assert_eq!(ids.span_id, cx.span().span_context().span_id());
    assert_eq!(record.severity_text(), Some("WARN"));
    assert!(matches!(record.body(), Some(AnyValue::String(body)) if body.as_str() == "something"));
}

#[test]
fn tracing_spans_and_ours_nest_in_both_directions() {
    let spans = Told::to(Does::Accept);
    let telemetry = quiet().with_span_exporter(spans.clone()).build().unwrap();
    let tracer = telemetry.tracer_provider().tracer("test");
    let subscriber = tracing_subscriber::registry().with(telemetry.span_layer());
    tracing::subscriber::with_default(subscriber, || {
        tracer.in_span("outer", |_| {
            tracing::info_span!("middle").in_scope(|| tracer.in_span("inner", |_| {}));
        });
    });
    telemetry.tracer_provider().force_flush().unwrap();
    let spans = spans.spans.lock().unwrap();
    let find = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
    let (outer, middle, inner) = (find("outer"), find("middle"), find("inner"));
    assert_eq!(middle.parent_span_id, outer.span_context.span_id());
    assert_eq!(inner.parent_span_id, middle.span_context.span_id());
}

/// Everything at level TRACE, with a real exporter at work over gRPC and HTTP: what it says about its connections must not
/// come back as log records, or each export would make the next.
#[tokio::test]
async fn the_exporters_own_stack_is_kept_out_and_the_applications_is_not() {
    for protocol in [Protocol::Grpc, Protocol::HttpProtobuf] {
        let collector = Hanging::start();
        let logs = InMemoryLogExporter::default();
        let telemetry = quiet()
            .with_exporter(Signal::Traces, Exporter::Otlp)
            .with_exporter(Signal::Metrics, Exporter::Otlp)
            .with_otlp(
                OtlpOptions::default()
                    .with_protocol(protocol)
                    .with_endpoint(format!("http://{}", collector.address))
                    .with_timeout(std::time::Duration::from_millis(100)),
            )
            .with_log_exporter(logs.clone())
            .build()
            .unwrap();
        let seen = Seen::default();
        let subscriber = tracing_subscriber::registry().with(telemetry.log_layer()).with(seen.clone());
        // The export thread is another one: only a global subscriber sees it, and this is the only test that sets one.
        let _ = tracing::subscriber::set_global_default(subscriber);
        end_spans(&telemetry, 1);
        let _ = telemetry.flush().await;
        async { tracing::info!(target: "hyper::client", "of the application") }
            .with_context(Context::new())
            .await;
        telemetry.logger_provider().force_flush().unwrap();
        if matches!(protocol, Protocol::Grpc) {
            assert!(seen.count("h2") > 0, "the exporter said nothing that could be kept out");
            let targets: Vec<_> = logs
                .get_emitted_logs()
                .unwrap()
                .iter()
                .filter_map(|log| log.record.target().map(ToString::to_string))
                .filter(|target| !target.starts_with("opentelemetry"))
                .collect();
            assert_eq!(targets, ["hyper::client"]);
        }
    }
}

/// Counts events by the beginning of their target.
#[derive(Clone, Debug, Default)]
struct Seen(std::sync::Arc<std::sync::Mutex<Vec<String>>>);

impl Seen {
    fn count(&self, prefix: &str) -> usize {
        let seen = self.0.lock().unwrap();
        seen.iter().filter(|target| target.starts_with(prefix)).count()
    }
}

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Seen {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        self.0.lock().unwrap().push(event.metadata().target().to_owned());
    }
}
