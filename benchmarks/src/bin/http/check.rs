//! The check before a measurement: the expected telemetry was recorded.

use benchmarks::sdk;
use opentelemetry::trace::{SpanId, SpanKind, TraceId};
use opentelemetry_sdk::trace::SpanData;

use crate::cell::{Candidate, Installed, Variant};
use crate::{client, requests};

/// The attributes of a server span that are not opt-in and that the request can supply.
const SERVER: [&str; 10] = [
    "http.request.method=GET",
    "http.response.status_code=200",
    "http.route=/users/{id}",
    "network.protocol.version=1.1",
    "server.address=api.example.com",
    "server.port=8080",
    "url.path=/users/42",
    "url.query=fields=name",
    "url.scheme=http",
    "user_agent.original=curl/8.5.0",
];

/// The additional attributes if the peer address is known.
const PEER: [&str; 3] =
    ["client.address=192.0.2.7", "network.peer.address=192.0.2.7", "network.peer.port=49152"];

/// The attributes of a client span that are not opt-in and that request and response can supply.
const CLIENT: [&str; 6] = [
    "http.request.method=GET",
    "http.response.status_code=200",
    "network.protocol.version=1.1",
    "server.address=users.example.com",
    "server.port=8080",
    "url.full=http://users.example.com:8080/users/42?fields=name",
];

pub(crate) fn server(candidate: Candidate, variant: Variant, installed: &Installed, serve: impl FnOnce()) {
    let spans = sdk::spans_of(serve);
    if oxtel(variant, installed, "http.server.request.duration") {
        return;
    }
    let span = only_span(candidate, variant, &spans, SpanKind::Server);
    if let Some(span) = span
        && is_complete(candidate)
    {
        has_all(span, &SERVER);
        if candidate == Candidate::Ours && variant == Variant::Peer {
            has_all(span, &PEER);
        }
    }
    metrics(candidate, installed, "http.server.request.duration", "http.server.active_requests");
}

/// Checks the span and the duration of oxtel; returns false for other candidates.
#[cfg(feature = "comparison")]
fn oxtel(variant: Variant, installed: &Installed, duration: &str) -> bool {
    let Some((oxtel, _)) = &installed.oxtel else { return false };
    assert_eq!((oxtel.spans(), oxtel.recordings(duration)), (u64::from(variant.records()), 1));
    true
}

#[cfg(not(feature = "comparison"))]
fn oxtel(_: Variant, installed: &Installed, _: &str) -> bool {
    installed.oxtel.is_some()
}

/// Checks a request of a case of growth, which has other attributes than those above.
#[cfg(feature = "comparison")]
pub(crate) fn growth(candidate: Candidate, variant: Variant, installed: &Installed, serve: impl FnOnce()) {
    let spans = sdk::spans_of(serve);
    only_span(candidate, variant, &spans, SpanKind::Server);
    metrics(candidate, installed, "http.server.request.duration", "http.server.active_requests");
}

pub(crate) fn client(candidate: Candidate, variant: Variant, installed: &Installed, call: impl FnOnce()) {
    let spans = sdk::spans_of(call);
    if !oxtel(variant, installed, "http.client.request.duration") && candidate != Candidate::Oxtel {
        let span = only_span(candidate, variant, &spans, SpanKind::Client);
        if let Some(span) = span
            && is_complete(candidate)
        {
            has_all(span, &CLIENT);
        }
        metrics(candidate, installed, "http.client.request.duration", "http.client.active_requests");
    }

    let headers = client::sent().expect("the request was sent");
    let sent = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    // tower-otel's metrics layer injects no context, and neither does its traces layer without `tracing`.
    let propagates = candidate.is_instrumented()
        && variant != Variant::Nothing
        && (candidate != Candidate::TowerOtel || variant.has_traces());
    assert_eq!(sent("traceparent").get(3..35) == requests::SAMPLED.get(3..35), propagates, "{headers:?}");
    if propagates && variant == Variant::TraceState {
        assert_eq!(sent("tracestate"), requests::TRACESTATE);
    }
    if propagates && variant == Variant::Baggage {
        let mut members: Vec<&str> = sent("baggage").split(',').collect();
        members.sort_unstable_by(|a, b| b.cmp(a));
        assert_eq!(members.join(","), requests::BAGGAGE);
    }
}

/// Returns `true` if the attributes are checked; for peers only the existence of the span is.
fn is_complete(candidate: Candidate) -> bool {
    matches!(candidate, Candidate::Ours | Candidate::Floor)
}

fn only_span(
    candidate: Candidate,
    variant: Variant,
    spans: &[SpanData],
    kind: SpanKind,
) -> Option<&SpanData> {
    let expected = candidate.is_instrumented() && variant.records();
    assert_eq!(spans.len(), usize::from(expected), "{spans:?}");
    let span = spans.first()?;
    assert_eq!(span.span_kind, kind);
    assert_eq!(span.span_context.trace_id(), TraceId::from(requests::TRACE_ID));
    assert_eq!(span.parent_span_id, SpanId::from(requests::SPAN_ID));
    Some(span)
}

fn has_all(span: &SpanData, expected: &[&str]) {
    let attributes = sdk::texts(span.attributes.iter());
    for attribute in expected {
        assert!(
            attributes.iter().any(|present| present == attribute),
            "missing {attribute} in {attributes:?}"
        );
    }
}

fn metrics(candidate: Candidate, installed: &Installed, duration: &str, active: &str) {
    let points = installed.metrics.as_ref().map(|metrics| metrics.points()).unwrap_or_default();
    if !candidate.has_metrics() || installed.metrics.is_none() {
        assert!(points.is_empty(), "{points:?}");
        return;
    }
    let value = |name: &str| points.iter().find(|point| point.name == name).map(|point| point.value);
    assert_eq!(value(duration), Some(1.0), "{points:?}");
    assert_eq!(value(active), Some(0.0), "{points:?}");
}
