//! The shutdown: in order, within its deadline, without blocking a runtime.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use opentelemetry::Context;
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};
use otel_telemetry::{Exporter, OtlpOptions, Protocol, Signal, Telemetry};

use crate::support::{Hanging, end_spans, quiet};
use otel_testing::{ExporterBehavior, ScriptedExporter};

/// Tolerance beyond a deadline on a busy machine.
const SLACK: Duration = Duration::from_secs(3);

fn to(collector: &Hanging, protocol: Protocol, shutdown_timeout: Duration) -> Telemetry {
    let telemetry = quiet()
        .with_exporters(Exporter::Otlp)
        .with_otlp(
            OtlpOptions::default()
                .with_protocol(protocol)
                .with_endpoint(format!("http://{}", collector.address))
                .with_timeout(Duration::from_secs(60)),
        )
        .with_shutdown_timeout(shutdown_timeout)
        .build()
        .unwrap();
    end_spans(&telemetry, 2000);
    let meter = telemetry.meter_provider().meter("test");
    meter.u64_counter("requests").build().add(1, &[]);
    telemetry
}

/// On a single-threaded runtime, any blocking call would stop the tickers.
#[tokio::test]
async fn a_hanging_collector_costs_the_deadline_and_blocks_nothing() {
    tokio::join!(blocks_nothing(Protocol::Grpc), blocks_nothing(Protocol::HttpProtobuf));
}

async fn blocks_nothing(protocol: Protocol) {
    // The share of each signal is three tenths of it, which is longer than the longest pause below.
    const DEADLINE: Duration = Duration::from_secs(8);
    let collector = Hanging::start();
    let telemetry = to(&collector, protocol, DEADLINE);
    let start = Instant::now();
    let mut longest_pause = Duration::ZERO;
    let report = {
        let shutdown = telemetry.shutdown();
        tokio::pin!(shutdown);
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        let mut last = Instant::now();
        loop {
            tokio::select! {
                report = &mut shutdown => break report,
                _ = ticks.tick() => {
                    longest_pause = longest_pause.max(last.elapsed());
                    last = Instant::now();
                }
            }
        }
    };
    let took = start.elapsed();
    assert!(took < DEADLINE + SLACK, "{protocol:?}: {took:?}");
    assert!(longest_pause < Duration::from_secs(2), "{protocol:?}: {longest_pause:?}");
    let unfinished: Vec<_> = report.unfinished.iter().map(|(signal, _)| *signal).collect();
    assert_eq!(unfinished, [Signal::Metrics, Signal::Traces], "{report}");
    assert_eq!(report.spans.ended, 2000);
    assert_eq!(report.spans.dropped.shut_down, 2000, "{report}");
}

/// The SDK's reader waits for five seconds; the share of the metrics is longer. The connection is closed although the provider is kept.
#[tokio::test]
async fn metrics_have_their_share_of_the_deadline_and_leave_no_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let collector = std::thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        connection.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut request = [0; 64 * 1024];
        assert!(connection.read(&mut request).unwrap() > 0);
        std::thread::sleep(Duration::from_secs(6));
        connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
        // Until the exporter closes the connection.
        while connection.read(&mut request).unwrap() > 0 {}
    });
    let otlp = OtlpOptions::default().with_protocol(Protocol::HttpProtobuf).with_endpoint(endpoint);
    let telemetry = quiet().with_exporters(Exporter::Otlp).with_otlp(otlp);
    let telemetry = telemetry.with_shutdown_timeout(Duration::from_secs(60)).build().unwrap();
    let provider = telemetry.meter_provider().clone();
    provider.meter("test").u64_counter("requests").build().add(1, &[]);
    let report = telemetry.shutdown().await;
    assert_eq!(report.unfinished, [], "{report}");
    tokio::task::spawn_blocking(|| collector.join().unwrap()).await.unwrap();
    drop(provider);
}

#[test]
fn dropping_is_bounded_too() {
    let collector = Hanging::start();
    let telemetry = to(&collector, Protocol::Grpc, Duration::from_secs(3));
    let start = Instant::now();
    drop(telemetry);
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(500), "it did not try: {took:?}");
    assert!(took < Duration::from_secs(3) + SLACK, "{took:?}");
}

#[test]
fn dropping_exports_what_waits() {
    let exporter = ScriptedExporter::new(ExporterBehavior::Accept);
    let telemetry = quiet().with_span_exporter(exporter.clone()).build().unwrap();
    end_spans(&telemetry, 3);
    drop(telemetry);
    assert_eq!(exporter.accepted(), 3);
}

#[tokio::test]
async fn a_shutdown_whose_future_is_dropped_goes_on() {
    let exporter = ScriptedExporter::new(ExporterBehavior::Accept);
    let telemetry = quiet().with_span_exporter(exporter.clone()).build().unwrap();
    end_spans(&telemetry, 3);
    let provider = telemetry.tracer_provider().clone();
    {
        let shutdown = telemetry.shutdown();
        tokio::pin!(shutdown);
        // One poll starts the shutdown.
        let _ = futures_util::poll!(&mut shutdown);
    }
    while !matches!(provider.shutdown(), Err(OTelSdkError::AlreadyShutdown)) || exporter.accepted() < 3 {
        tokio::task::yield_now().await;
    }
}

#[test]
fn readiness_ends_before_the_export_does() {
    let exporter = ScriptedExporter::new(ExporterBehavior::Hang);
    let telemetry = quiet().with_span_exporter(exporter.clone()).build().unwrap();
    end_spans(&telemetry, 1);
    let health = telemetry.health();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    assert!(runtime.block_on(health.ready()).is_serving());
    let shutting_down = std::thread::spawn(|| telemetry.shutdown_blocking(Duration::from_secs(2)));
    while runtime.block_on(health.ready()).is_serving() {
        assert!(!shutting_down.is_finished(), "ready to the end");
    }
    assert!(!shutting_down.is_finished(), "not ready only after the end");
    assert!(health.live().is_serving());
    shutting_down.join().unwrap();
}

#[test]
fn no_deadline_is_too_long_or_too_short() {
    for deadline in [Duration::ZERO, Duration::MAX] {
        let exporter = ScriptedExporter::new(ExporterBehavior::Accept);
        let telemetry = quiet().with_span_exporter(exporter.clone()).build().unwrap();
        end_spans(&telemetry, 3);
        let report = telemetry.shutdown_blocking(deadline);
        assert_eq!(report.is_complete(), deadline == Duration::MAX, "{report}");
    }
}

/// A processor of the application whose shutdown is slow.
#[derive(Debug)]
struct Stubborn;

impl SpanProcessor for Stubborn {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, _: SpanData) {}

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        std::thread::sleep(Duration::from_secs(3));
        Ok(())
    }
}

#[test]
fn a_processor_that_ignores_its_timeout_costs_the_deadline_and_no_account() {
    let exporter = ScriptedExporter::new(ExporterBehavior::Accept);
    let telemetry = quiet()
        .with_span_exporter(exporter.clone())
        .map_tracer_provider(|tracers| tracers.with_span_processor(Stubborn))
        .build()
        .unwrap();
    end_spans(&telemetry, 5);
    let start = Instant::now();
    let report = telemetry.shutdown_blocking(Duration::from_secs(1));
    assert!(start.elapsed() < Duration::from_secs(1) + SLACK);
    assert!(!report.is_complete());
    assert_eq!((report.spans.ended, report.spans.dropped.shut_down), (5, 5), "{report}");
}
