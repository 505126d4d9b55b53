//! What both sides read out of a message's head.
//!
//! Follows RFC 9110 (`Content-Length`, `Content-Type`) and the HTML specification (event streams).

use http::{HeaderMap, Method, Response, header};
use opentelemetry::trace::SpanRef;

use crate::config::{Options, RequestHead, ResponseHead};

/// What a span is told of a response's head, on both sides.
pub(crate) fn respond<B>(options: &Options, span: &SpanRef<'_>, response: &Response<B>) {
    let mut list = Vec::new();
    options.response_headers.read(response.headers(), &mut list);
    if let Some(hook) = &options.on_response {
        hook(&ResponseHead::of(response), &mut list);
    }
    if !list.is_empty() {
        span.set_attributes(list);
    }
}

pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Whether this is a gRPC call, which otel-grpc's layers record (gRPC over HTTP/2, "Requests"; the same for gRPC-Web).
pub(crate) fn is_grpc(head: &RequestHead<'_>) -> bool {
    // All of them are POSTs, and most requests that are none need not be looked at further.
    head.method == Method::POST && content_type_begins(head.headers, b"application/grpc")
}

pub(crate) fn is_event_stream(headers: &HeaderMap) -> bool {
    content_type_begins(headers, b"text/event-stream")
}

fn content_type_begins(headers: &HeaderMap, start: &[u8]) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map(|kind| kind.as_bytes()).unwrap_or_default();
    kind.get(..start.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(start))
}
