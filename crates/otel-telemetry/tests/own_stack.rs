//! Events of the exporters' own dependencies are not log records. In its own process, because the servers of other
//! tests use the same crates, and the subscriber is global.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry::trace::{FutureExt as _, Span as _, Tracer, TracerProvider};
use opentelemetry_sdk::logs::InMemoryLogExporter;
use otel_telemetry::{Exporter, OtlpOptions, Protocol, Signal, Telemetry, TelemetryBuilder};
use tracing_subscriber::layer::SubscriberExt;

fn quiet() -> TelemetryBuilder {
    Telemetry::builder().with_env::<&str, &str>([]).with_exporters(Exporter::None)
}

/// Real exporters over gRPC and HTTP at level TRACE: events of their connections must not become log records,
/// otherwise each export would cause the next.
#[tokio::test]
async fn the_exporters_own_stack_is_kept_out_and_the_applications_is_not() {
    let logs = InMemoryLogExporter::default();
    let logging = quiet().with_log_exporter(logs.clone()).build().unwrap();
    let seen = Seen::default();
    let subscriber = tracing_subscriber::registry().with(logging.log_layer()).with(seen.clone());
    // The exports run on other threads, which only a global subscriber observes.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    for (protocol, stack) in [(Protocol::Grpc, "h2"), (Protocol::HttpProtobuf, "hyper_util")] {
        // The system accepts connections up to the backlog; no response is ever sent.
        let collector = TcpListener::bind("127.0.0.1:0").unwrap();
        let exporting = quiet()
            .with_exporter(Signal::Traces, Exporter::Otlp)
            .with_exporter(Signal::Metrics, Exporter::Otlp)
            .with_otlp(
                OtlpOptions::default()
                    .with_protocol(protocol)
                    .with_endpoint(format!("http://{}", collector.local_addr().unwrap()))
                    .with_timeout(Duration::from_millis(100))
                    .with_retry_for(Duration::ZERO),
            )
            .build()
            .unwrap();
        let before = seen.count(stack);
        exporting.tracer_provider().tracer("test").start("span").end();
        let _ = exporting.flush().await;
        assert!(seen.count(stack) > before, "{stack} said nothing that could be kept out");
    }
    async { tracing::info!(target: "hyper::client", "of the application") }
        .with_context(Context::new())
        .await;
    logging.logger_provider().force_flush().unwrap();
    let targets: Vec<_> = logs
        .get_emitted_logs()
        .unwrap()
        .iter()
        .filter_map(|log| log.record.target().map(ToString::to_string))
        .filter(|target| {
            ["h2", "hyper", "tonic", "tower", "reqwest"].iter().any(|own| target.starts_with(own))
        })
        .collect();
    assert_eq!(targets, ["hyper::client"]);
}

/// Counts events by the prefix of their target.
#[derive(Clone, Debug, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

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
