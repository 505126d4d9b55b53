//! Sample traces with fixed ids and times.

use opentelemetry::trace::{SpanId, SpanKind, Status, TraceId};
use otel_waterfall::{Event, Link, Span, Trace};

pub(crate) const TRACE: u128 = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c;
/// 2026-01-01T00:00:00Z.
pub(crate) const START: u64 = 1_767_225_600_000_000_000;

/// A span of the sample trace; times are microseconds since its start.
pub(crate) fn span(id: u64, name: &str, from: u64, to: u64) -> Span {
    Span::new(trace_id(), SpanId::from(id), name, START + from * 1_000, START + to * 1_000)
}

pub(crate) fn trace_id() -> TraceId {
    TraceId::from(TRACE)
}

pub(crate) fn trace(spans: impl IntoIterator<Item = Span>) -> Trace {
    Trace::group(spans).pop().expect("one trace")
}

/// A typical trace: three services, an error, links, events.
pub(crate) fn shop() -> Trace {
    let id = SpanId::from;
    trace([
        span(3, "SELECT stock", 16_000, 78_000)
            .with_parent(id(2))
            .with_service("stock")
            .with_kind(SpanKind::Client)
            .with_status(Status::error("lock wait exceeded"))
            .with_attribute("error.type", "timeout")
            .with_attribute("db.system.name", "postgresql")
            .with_event(
                Event::new("row locked", START + 40_000_000)
                    .with_attribute("rows", "1")
                    .with_attribute("mode", "x"),
            ),
        span(2, "GET /stock/{id}", 14_000, 80_000)
            .with_remote_parent(id(5))
            .with_service("stock")
            .with_kind(SpanKind::Server),
        span(5, "GET", 12_000, 81_000).with_parent(id(1)).with_service("shop").with_kind(SpanKind::Client),
        span(4, "price the basket", 2_000, 11_350).with_parent(id(1)).with_service("shop"),
        span(6, "send orders", 82_000, 82_100)
            .with_parent(id(1))
            .with_service("shop")
            .with_kind(SpanKind::Producer),
        span(1, "POST /orders", 0, 84_000)
            .with_service("shop")
            .with_kind(SpanKind::Server)
            .with_attribute("http.request.method", "POST")
            .with_attribute("http.route", "/orders")
            .with_link(
                Link::new(
                    TraceId::from(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736),
                    id(0x00f0_67aa_0ba9_02b7),
                )
                .with_attribute("reason", "follows from"),
            )
            .with_link(Link::new(trace_id(), id(6))),
        span(7, "process orders", 83_000, 95_000)
            .with_remote_parent(id(6))
            .with_service("mailer")
            .with_kind(SpanKind::Consumer),
    ])
}
