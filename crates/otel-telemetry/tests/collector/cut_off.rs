//! The real collector: unreachable at the start, reachable, cut off during an export, and reachable again.
//!
//! A relay is cut off instead of the collector, because other tests use the collector.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use opentelemetry::trace::{Span as _, Tracer, TracerProvider};
use otel_telemetry::{Exporter, Signal, Telemetry};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::{START, setting};

/// Short of the time for which exports are retried.
const SOON: Duration = Duration::from_millis(500);

/// Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Forwards connections to the collector.
struct Relay(JoinHandle<()>);

impl Relay {
    async fn start(address: SocketAddr, collector: String) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        Self(tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                let collector = collector.clone();
                connections.spawn(async move {
                    let mut far = TcpStream::connect(&collector).await.expect(START);
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                });
            }
        }))
    }

    /// Closes all connections and the listener.
    async fn cut(self) {
        self.0.abort();
        let _ = self.0.await;
    }
}

/// Returns the numbers of the spans with this name that the collector has printed.
fn printed(file: &Path, name: &str) -> HashSet<u64> {
    let log = std::fs::read(file).unwrap_or_else(|error| panic!("{}: {error}; {START}", file.display()));
    let log = String::from_utf8_lossy(&log);
    log.lines().filter_map(|line| line.split_once(name)?.1.trim().parse().ok()).collect()
}

/// Waits until the collector has printed this number of different spans with this name, and returns their number.
pub(crate) async fn wait_for_printed(file: &Path, name: &str, spans: u64) -> u64 {
    let began = Instant::now();
    loop {
        let printed = printed(file, name).len() as u64;
        if printed >= spans {
            return printed;
        }
        assert!(began.elapsed() < PATIENCE, "{printed} of {spans} printed");
        // Polls, because another process writes the file without a notification.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn cut_off(protocol: &str, collector: &str) {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let collector = collector.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos();
    let name = format!("cut-off-{now}-");
    let telemetry = Telemetry::builder()
        .with_exporters(Exporter::None)
        .with_exporter(Signal::Traces, Exporter::Otlp)
        .with_env([
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{address}")),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "10000"),
            // Only full batches and flushes export, so that each flush reports the spans that ended before it.
            ("OTEL_BSP_SCHEDULE_DELAY", "3600000"),
        ])
        .strict_env()
        .build()
        .unwrap();
    let tracer = telemetry.tracer_provider().tracer("cut-off");
    let mut ended = 0;
    let mut end = |spans: u64| {
        (ended..ended + spans).for_each(|n| tracer.start(format!("{name}{n}")).end());
        ended += spans;
    };

    end(10);
    telemetry.flush_within(SOON).await.unwrap_err();
    assert_eq!(telemetry.span_counts().pending, 10, "away at the start");

    let relay = Relay::start(address, collector.clone()).await;
    end(1000);
    telemetry.flush().await.unwrap();
    assert_eq!(telemetry.span_counts().accepted, 1010);

    // Enough for several exports, one of which is interrupted when the relay is cut off.
    end(5000);
    relay.cut().await;
    end(10);
    telemetry.flush_within(SOON).await.unwrap_err();

    let relay = Relay::start(address, collector).await;
    end(1000);
    let report = telemetry.shutdown().await;
    assert!(report.is_complete(), "{report}");
    let counts = report.spans;
    assert_eq!((counts.ended, counts.accepted, counts.pending), (ended, ended, 0), "{counts:?}");

    let log = setting("COLLECTOR_LOG");
    assert_eq!(wait_for_printed(log.as_ref(), &name, ended).await, ended);
    relay.cut().await;
}

#[tokio::test]
async fn over_grpc() {
    cut_off("grpc", &setting("COLLECTOR_OTLP_GRPC_URL")).await;
}

#[tokio::test]
async fn over_http() {
    cut_off("http/protobuf", &setting("COLLECTOR_OTLP_HTTP_URL")).await;
}
