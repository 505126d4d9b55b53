//! Helpers for message heads that the server and the client share.
//!
//! Follows [RFC 9110](https://www.rfc-editor.org/rfc/rfc9110) (`Content-Length`, `Content-Type`) and the [HTML
//! specification](https://html.spec.whatwg.org/multipage/server-sent-events.html) (event streams).

use http::{HeaderMap, Response, header};
use opentelemetry::trace::SpanRef;

use crate::config::{Options, ResponseHead};

/// Sets the captured response headers and the attributes of the response hook on a span.
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

pub(crate) fn is_event_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map(|kind| kind.as_bytes()).unwrap_or_default();
    let event_stream = b"text/event-stream";
    kind.get(..event_stream.len()).is_some_and(|start| start.eq_ignore_ascii_case(event_stream))
}
