//! The end of a recorded span on the thread that ends it; starting the span is not counted.

use benchmarks::measure::{self, Mode};
use opentelemetry::KeyValue;
use opentelemetry::trace::{Span as _, SpanBuilder, SpanKind, Tracer as _};
use opentelemetry_sdk::trace::{SdkTracer, Span};

use crate::candidate::{Candidate, QUEUE};

pub(crate) fn measure(candidate: Candidate, mode: Mode) {
    let running = candidate.start();
    let tracer = running.tracer();
    let mut ended = 0;
    measure::measure(
        mode,
        || start(&tracer),
        |mut span| {
            span.end();
            ended += 1;
        },
    );
    let exported = running.stop();
    // All of them fit into the queue, so that none is counted that was dropped at less cost.
    assert!(ended <= QUEUE as u64, "{ended} spans");
    let expected = if candidate == Candidate::Drop { 0 } else { ended };
    assert_eq!(exported, expected, "spans are lost");
}

/// Starts a span with the attributes of a request.
pub(crate) fn start(tracer: &SdkTracer) -> Span {
    let attributes = [
        KeyValue::new("http.request.method", "GET"),
        KeyValue::new("url.path", "/orders/17"),
        KeyValue::new("http.route", "/orders/{id}"),
        KeyValue::new("http.response.status_code", 200),
        KeyValue::new("server.address", "localhost"),
        KeyValue::new("server.port", 8080),
    ];
    let span = SpanBuilder::from_name("GET /orders/{id}").with_kind(SpanKind::Server);
    tracer.build(span.with_attributes(attributes))
}
