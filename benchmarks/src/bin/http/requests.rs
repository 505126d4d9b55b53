//! The measured requests, with the headers of the variant.

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::ConnectInfo;
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use opentelemetry::baggage::BaggageExt as _;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use opentelemetry::{Context, KeyValue};

use crate::cell::Variant;

pub(crate) const TRACE_ID: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;
pub(crate) const SPAN_ID: u64 = 0x00f0_67aa_0ba9_02b7;
pub(crate) const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const UNSAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
pub(crate) const TRACESTATE: &str = "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE";
pub(crate) const BAGGAGE: &str = "userId=alice,tenant=acme%20corp";

/// Creates a request as a server receives it.
pub(crate) fn server(variant: Variant) -> Request<Body> {
    let mut request = Request::get("/users/42?fields=name")
        .header("host", "api.example.com:8080")
        .header("user-agent", "curl/8.5.0")
        .header("accept", "application/json")
        .header("traceparent", if variant.is_unsampled() { UNSAMPLED } else { SAMPLED });
    match variant {
        Variant::TraceState => request = request.header("tracestate", TRACESTATE),
        Variant::Baggage => request = request.header("baggage", BAGGAGE),
        Variant::Peer => {
            request = request.extension(ConnectInfo(SocketAddr::from(([192, 0, 2, 7], 49152))));
        }
        _ => {}
    }
    request.body(Body::empty()).expect("the parts are valid")
}

/// Creates a request as an application passes it to its client.
pub(crate) fn client() -> Request<Full<Bytes>> {
    Request::get("http://users.example.com:8080/users/42?fields=name")
        .header("user-agent", "benchmark/1.0")
        .header("accept", "application/json")
        .body(Full::default())
        .expect("the parts are valid")
}

/// Creates the context in which a client is called.
pub(crate) fn caller(variant: Variant) -> Option<Context> {
    if variant == Variant::Nothing {
        return None;
    }
    let flags = if variant.is_unsampled() { TraceFlags::default() } else { TraceFlags::SAMPLED };
    let state = match variant {
        Variant::TraceState => TRACESTATE.parse().expect("the state is valid"),
        _ => TraceState::NONE,
    };
    let span = SpanContext::new(TraceId::from(TRACE_ID), SpanId::from(SPAN_ID), flags, true, state);
    let context = Context::new().with_remote_span_context(span);
    Some(match variant {
        Variant::Baggage => {
            context.with_baggage([KeyValue::new("userId", "alice"), KeyValue::new("tenant", "acme corp")])
        }
        _ => context,
    })
}
