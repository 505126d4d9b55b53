//! The programs that the tests start.

use std::fmt::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry::trace::{Span as _, Tracer, TracerProvider};
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use otel_telemetry::{Exporter, OtlpOptions, Signal, Telemetry, TelemetryBuilder};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, SubscriberExt};

pub(crate) const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

pub(crate) fn run(name: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        match name {
            "console" => console().await,
            "stuck" => stuck().await,
            "draining" => draining().await,
            "blocked-log" => blocked_log().await,
            "failing" => failing().await,
            _ => panic!("there is no program {name}"),
        }
    });
}

#[expect(clippy::print_stderr, reason = "the tests read it")]
fn say(text: &str) {
    eprintln!("{text}");
}

fn builder() -> TelemetryBuilder {
    Telemetry::builder()
        .with_service_name("program")
        .with_env::<&str, &str>([])
        .with_exporters(Exporter::None)
        .with_shutdown_timeout(SHUTDOWN_TIMEOUT)
}

fn end_spans(telemetry: &Telemetry, spans: usize) {
    let tracer = telemetry.tracer_provider().tracer("program");
    for _ in 0..spans {
        tracer.start("span").end();
    }
}

async fn console() {
    let telemetry = builder()
        .with_exporter(Signal::Traces, Exporter::Stdout)
        .with_log_exporter(opentelemetry_sdk::logs::InMemoryLogExporter::default())
        .with_log_filter("warn")
        .init()
        .unwrap();
    let stop = telemetry.shutdown_on_signal();
    // A span is printed with more than 100 bytes, and a pipe holds 64 KiB.
    end_spans(&telemetry, 2000);
    while telemetry.flush_within(Duration::from_secs(1)).await.is_ok() {}
    tracing::warn!("another signal");
    say("blocked");
    stop.await;
    assert!(!telemetry.health().ready().await.is_serving());
    say("not ready");
    let report = telemetry.shutdown().await;
    say(&report.to_string());
}

async fn stuck() {
    let telemetry = builder().init().unwrap();
    let stop = telemetry.shutdown_on_signal();
    say("ready");
    stop.await;
    telemetry.shutdown().await;
    say("stuck");
    // The only thread of the application blocks.
    loop {
        std::thread::park();
    }
}

async fn draining() {
    let telemetry = builder().with_drain_delay(Duration::from_secs(3600)).init().unwrap();
    let stop = telemetry.shutdown_on_signal();
    say("ready");
    let health = telemetry.health();
    let watching = async {
        while health.ready().await.is_serving() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        say("draining");
    };
    tokio::join!(stop, watching);
}

#[derive(Debug)]
struct Failing;

impl SpanExporter for Failing {
    async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
        Err(OTelSdkError::InternalFailure("always".into()))
    }
}

/// Blocks on each event of the telemetry.
struct Blocking;

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Blocking {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target().starts_with("otel_telemetry::status") {
            say("blocked");
        }
        if *event.metadata().level() <= tracing::Level::WARN {
            loop {
                std::thread::park();
            }
        }
    }
}

async fn blocked_log() {
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Blocking)).unwrap();
    let telemetry = builder().with_span_exporter(Failing).without_subscriber().init().unwrap();
    let stop = telemetry.shutdown_on_signal();
    end_spans(&telemetry, 3);
    let _ = telemetry.flush_within(Duration::from_millis(500)).await;
    stop.await;
    let report = telemetry.shutdown().await;
    say(&report.to_string());
}

/// Keeps the messages of warnings.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

#[derive(Default)]
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            write!(self.0, "{value:?}").unwrap();
        }
    }
}

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Warnings {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if !event.metadata().target().starts_with("otel_telemetry") {
            return;
        }
        let mut message = Message::default();
        event.record(&mut message);
        match *event.metadata().level() {
            tracing::Level::WARN => self.0.lock().unwrap().push(message.0),
            tracing::Level::INFO => say(&format!("configuration: {}", message.0)),
            _ => {}
        }
    }
}

async fn failing() {
    let warnings = Warnings::default();
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(warnings.clone())).unwrap();
    let otlp = OtlpOptions::default()
        .with_endpoint("http://user:secret@127.0.0.1:1")
        .with_header("authorization", "secret");
    let telemetry = builder()
        .with_exporter(Signal::Traces, Exporter::Otlp)
        .with_otlp(otlp)
        .without_subscriber()
        .init()
        .unwrap();
    end_spans(&telemetry, 3);
    // Several attempts fail.
    telemetry.flush_within(Duration::from_secs(1)).await.unwrap_err();
    let mut failures = warnings.0.lock().unwrap().join("\n");
    let delay = failures.rfind(" in ").unwrap();
    failures.replace_range(delay + 4.., "DELAY");
    say(&format!("failures: {failures}"));
    telemetry.shutdown().await;
}
