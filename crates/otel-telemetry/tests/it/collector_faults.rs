//! A collector that is unreachable at the start, appears, fails, disappears and returns. It implements minimal HTTP.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use otel_telemetry::{Exporter, HealthStatus, OtlpOptions, Signal, Telemetry};

use crate::support::{end_spans, quiet};

/// A collector on a given address that responds to each request with one status.
struct Collector {
    stop: Arc<AtomicBool>,
    address: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

impl Collector {
    fn start(address: SocketAddr, status: &'static str) -> Self {
        let listener = bind(address);
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                answer(&mut stream.unwrap(), status);
            }
        });
        Self { stop, address, thread: Some(thread) }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Binds an address that was free before, and that another process may use for a short time.
fn bind(address: SocketAddr) -> TcpListener {
    let start = Instant::now();
    loop {
        match TcpListener::bind(address) {
            Ok(listener) => return listener,
            Err(error) => assert!(start.elapsed() < Duration::from_secs(30), "{address}: {error}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Reads one request by its `content-length`, and closes the connection after the response.
fn answer(stream: &mut TcpStream, status: &str) {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = stream.read(&mut buffer).unwrap_or(0);
        request.extend_from_slice(&buffer[..read]);
        let head_end = request.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        let complete = head_end.is_some_and(|end| {
            let head = String::from_utf8_lossy(&request[..end]).to_ascii_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length:"))
                .map_or(0, |length| length.trim().parse::<usize>().unwrap());
            request.len() >= end + 4 + length
        });
        if complete || read == 0 {
            break;
        }
    }
    let _ = write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
}

fn telemetry(address: SocketAddr) -> Telemetry {
    quiet()
        .with_exporter(Signal::Traces, Exporter::Otlp)
        .with_otlp(
            OtlpOptions::default()
                .with_endpoint(format!("http://{address}"))
                .with_timeout(Duration::from_millis(500)),
        )
        .build()
        .unwrap()
}

#[tokio::test]
async fn away_then_there_then_erring_then_away_then_back() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let telemetry = telemetry(address);
    let status = async || telemetry.health().ready().await.status;
    let reason = async || telemetry.health().ready().await.details["exporter.traces"].reason.clone().unwrap();

    end_spans(&telemetry, 1);
    // Within this time, the first attempt has been refused.
    let errors = telemetry.flush_within(Duration::from_secs(2)).await.unwrap_err();
    assert_eq!(errors[0].0, Signal::Traces);
    assert!(errors[0].1.contains("Connection refused"), "{errors:?}");
    assert_eq!(status().await, HealthStatus::Degraded);
    let away = reason().await;
    let begin = format!("export of traces to http://{address}/v1/traces has failed for ");
    assert!(away.starts_with(&begin) && away.contains("tcp connect error: Connection refused"), "{away}");
    assert_eq!(telemetry.span_counts().pending, 1, "away at the start loses nothing");

    let collector = Collector::start(address, "200 OK");
    end_spans(&telemetry, 10);
    telemetry.flush().await.unwrap();
    assert_eq!(status().await, HealthStatus::Up);
    assert_eq!(telemetry.span_counts().accepted, 11);
    drop(collector);

    let collector = Collector::start(address, "400 Bad Request");
    end_spans(&telemetry, 100);
    let errors = telemetry.flush().await.unwrap_err();
    assert!(errors[0].1.contains("HTTP status 400 Bad Request"), "{errors:?}");
    assert!(reason().await.ends_with("HTTP status 400 Bad Request"), "{}", reason().await);
    assert_eq!(telemetry.span_counts().dropped.failed, 100, "a request that is not accepted later either");
    drop(collector);

    end_spans(&telemetry, 1000);
    assert!(telemetry.flush_within(Duration::from_millis(300)).await.is_err(), "gone midway");

    let collector = Collector::start(address, "200 OK");
    end_spans(&telemetry, 1000);
    let report = telemetry.shutdown().await;
    assert!(report.is_complete(), "back again: {report}");
    drop(collector);
    let counts = report.spans;
    assert_eq!((counts.ended, counts.accepted), (2111, 2011), "{counts:?}");
    assert_eq!(counts.dropped.total(), 100, "{counts:?}");
}
