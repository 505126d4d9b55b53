//! Retries over real sockets: what is retried, when, for how long, and what is dropped meanwhile.

use std::time::{Duration, Instant};

use opentelemetry::trace::{Span as _, Tracer, TracerProvider};
use otel_telemetry::{BatchOptions, Exporter, HealthStatus, OtlpOptions, Protocol, Signal, Telemetry};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::collector::{Answer, Collector};
use crate::support::{Hanging, end_spans, quiet};

const PROTOCOLS: [Protocol; 2] = [Protocol::Grpc, Protocol::HttpProtobuf];

fn options(protocol: Protocol, url: &str) -> OtlpOptions {
    OtlpOptions::default().with_protocol(protocol).with_endpoint(url)
}

fn telemetry(options: OtlpOptions, batch: BatchOptions) -> Telemetry {
    quiet()
        .with_exporter(Signal::Traces, Exporter::Otlp)
        .with_otlp(options)
        .with_span_batch(batch)
        .build()
        .unwrap()
}

fn busy(protocol: Protocol, delay: Option<Duration>) -> Answer {
    match (protocol, delay) {
        (Protocol::Grpc, None) => Answer::Grpc(Status::unavailable("restarting")),
        (Protocol::Grpc, delay) => {
            let details = ErrorDetails::with_retry_info(delay);
            Answer::Grpc(Status::with_error_details(Code::ResourceExhausted, "too many", details))
        }
        (_, None) => Answer::Http(502, None, "restarting"),
        (_, Some(_)) => Answer::Http(429, Some("1"), "too many"),
    }
}

#[tokio::test]
async fn transient_refusals_are_retried_with_growing_delays() {
    for protocol in PROTOCOLS {
        let collector = Collector::start(None, vec![busy(protocol, None); 3]);
        let telemetry = telemetry(options(protocol, &collector.url()), BatchOptions::for_spans());
        end_spans(&telemetry, 3);
        telemetry.flush().await.unwrap();
        assert_eq!(collector.spans().len(), 3);
        let requests = collector.requests();
        assert_eq!(requests.len(), 4, "{protocol:?}");
        let delays: Vec<_> = requests.windows(2).map(|pair| pair[1] - pair[0]).collect();
        for (delay, least) in delays.iter().zip([125, 250, 500]) {
            assert!(*delay >= Duration::from_millis(least), "{delays:?}");
        }
        assert_eq!(telemetry.span_counts().accepted, 3);
        assert_eq!(telemetry.health().ready().await.status, HealthStatus::Up);
    }
}

#[tokio::test]
async fn the_collector_decides_about_the_delay() {
    for protocol in PROTOCOLS {
        let collector = Collector::start(None, [busy(protocol, Some(Duration::from_secs(1)))]);
        let telemetry = telemetry(options(protocol, &collector.url()), BatchOptions::for_spans());
        end_spans(&telemetry, 1);
        telemetry.flush().await.unwrap();
        let requests = collector.requests();
        assert!(requests[1] - requests[0] >= Duration::from_secs(1), "{protocol:?}: {requests:?}");
    }
}

#[tokio::test]
async fn a_refusal_is_not_retried_and_its_message_is_reported() {
    let refusals = [
        (
            Protocol::HttpProtobuf,
            Answer::Http(401, None, "no such token\n"),
            "HTTP status 401 Unauthorized: no such token",
        ),
        (
            Protocol::Grpc,
            Answer::Grpc(Status::unauthenticated("no such token")),
            "gRPC status Unauthenticated: no such token",
        ),
        // Without a RetryInfo.
        (
            Protocol::Grpc,
            Answer::Grpc(Status::resource_exhausted("quota")),
            "gRPC status ResourceExhausted: quota",
        ),
    ];
    for (protocol, refusal, expected) in refusals {
        let collector = Collector::start(None, [refusal]);
        let telemetry = telemetry(options(protocol, &collector.url()), BatchOptions::for_spans());
        end_spans(&telemetry, 2);
        let errors = telemetry.flush().await.unwrap_err();
        assert!(errors[0].1.ends_with(expected), "{errors:?}");
        assert_eq!(collector.requests().len(), 1);
        assert_eq!(telemetry.span_counts().dropped.failed, 2);
        let report = telemetry.health().ready().await;
        let reason = report.details["exporter.traces"].reason.clone().unwrap();
        assert!(reason.contains(&collector.url()) && reason.ends_with(expected), "{reason}");
    }
}

#[tokio::test]
async fn rejected_spans_are_counted_with_their_export_accepted() {
    for protocol in PROTOCOLS {
        let collector = Collector::start(None, [Answer::Reject(2, "too old"), Answer::Reject(9, "too many")]);
        let telemetry = telemetry(options(protocol, &collector.url()), BatchOptions::for_spans());
        end_spans(&telemetry, 5);
        telemetry.flush().await.unwrap();
        let counts = telemetry.span_counts();
        assert_eq!((counts.accepted, counts.dropped.rejected, counts.pending), (3, 2, 0));
        // A number above that of the request cannot make the counts inconsistent.
        end_spans(&telemetry, 4);
        telemetry.flush().await.unwrap();
        let counts = telemetry.span_counts();
        assert_eq!((counts.accepted, counts.dropped.rejected, counts.ended), (3, 6, 9));
    }
}

#[tokio::test]
async fn retries_end_after_their_time() {
    let collector = Collector::start(None, vec![busy(Protocol::HttpProtobuf, None); 100]);
    let options = options(Protocol::HttpProtobuf, &collector.url()).with_retry_for(Duration::from_secs(1));
    let telemetry = telemetry(options, BatchOptions::for_spans());
    end_spans(&telemetry, 1);
    let start = Instant::now();
    assert!(telemetry.flush().await.is_err());
    assert!(start.elapsed() >= Duration::from_secs(1));
    let counts = telemetry.span_counts();
    assert_eq!((counts.dropped.failed, counts.pending), (1, 0));
    assert!(collector.requests().len() >= 3);
}

#[tokio::test]
async fn without_retries_one_attempt_is_made() {
    let collector = Hanging::start();
    let options = options(Protocol::HttpProtobuf, &format!("http://{}", collector.address))
        .with_timeout(Duration::from_millis(50))
        .with_retry_for(Duration::ZERO);
    let telemetry = telemetry(options, BatchOptions::for_spans());
    end_spans(&telemetry, 1);
    let errors = telemetry.flush().await.unwrap_err();
    assert!(errors[0].1.contains("no response within 50ms"), "{errors:?}");
    assert_eq!(telemetry.span_counts().dropped.timed_out, 1);
}

/// The queue has room for four spans, in batches of two. The collector asks for a delay in which no attempt is made, so
/// that the first batch still waits when the queue becomes full.
#[tokio::test]
async fn a_full_queue_displaces_the_oldest_batch_that_waits_for_a_retry() {
    let collector = Collector::start(None, [Answer::Http(503, Some("5"), "")]);
    let batch = BatchOptions::for_spans().with_max_queue_size(4).with_max_batch_size(2);
    let telemetry = telemetry(options(Protocol::HttpProtobuf, &collector.url()), batch);
    let tracer = telemetry.tracer_provider().tracer("test");
    let health = telemetry.health();
    tracer.start("0").end();
    tracer.start("1").end();
    while health.ready().await.status == HealthStatus::Up {
        tokio::task::yield_now().await;
    }
    for n in 2..6 {
        tracer.start(n.to_string()).end();
    }
    // A flush that begins before is about the first batch too.
    while telemetry.span_counts().dropped.queue_full == 0 {
        tokio::task::yield_now().await;
    }
    telemetry.flush().await.unwrap();
    assert_eq!(collector.spans(), ["2", "3", "4", "5"]);
    let counts = telemetry.span_counts();
    assert_eq!((counts.ended, counts.accepted, counts.dropped.queue_full), (6, 4, 2));
}

#[tokio::test]
async fn a_collector_that_was_never_reached_does_not_delay_the_shutdown() {
    let collector = Collector::start(None, []);
    let url = collector.url();
    drop(collector);
    for protocol in PROTOCOLS {
        let telemetry = telemetry(options(protocol, &url), BatchOptions::for_spans());
        end_spans(&telemetry, 3);
        let start = Instant::now();
        // Retries would last for the traces' share of the deadline, which is longer than 15 s.
        let report = telemetry.shutdown_within(Duration::from_secs(60)).await;
        assert!(start.elapsed() < Duration::from_secs(10), "{protocol:?}: {:?}", start.elapsed());
        assert!(report.unfinished[0].1.contains("Connection refused"), "{report}");
        assert_eq!(report.spans.dropped.failed, 3);
    }
}

#[tokio::test]
async fn a_collector_that_restarts_during_the_shutdown_loses_nothing() {
    for protocol in PROTOCOLS {
        let collector = Collector::start(None, []);
        let address = collector.address;
        let telemetry = telemetry(options(protocol, &collector.url()), BatchOptions::for_spans());
        end_spans(&telemetry, 1);
        telemetry.flush().await.unwrap();
        drop(collector);
        end_spans(&telemetry, 600);
        let health = telemetry.health();
        while health.ready().await.status == HealthStatus::Up {
            tokio::task::yield_now().await;
        }
        let restarted = std::thread::spawn(move || {
            while !health_is_stopping(&health) {
                std::thread::yield_now();
            }
            Collector::start(Some(address), [])
        });
        let report = telemetry.shutdown().await;
        assert!(report.is_complete(), "{protocol:?}: {report}");
        assert_eq!((report.spans.accepted, report.spans.dropped.total()), (601, 0));
        assert_eq!(restarted.join().unwrap().spans().len(), 600);
    }
}

fn health_is_stopping(health: &otel_telemetry::Health) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    !runtime.block_on(health.ready()).is_serving()
}
