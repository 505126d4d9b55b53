//! Helpers for message heads that the server and the client share.
//!
//! Follows [RFC 9110](https://www.rfc-editor.org/rfc/rfc9110) (`Content-Length`, `Content-Type`) and the [HTML
//! specification](https://html.spec.whatwg.org/multipage/server-sent-events.html) (event streams).

use http::{HeaderMap, header};
use otel_request::Protocol;

/// HTTP as the protocol of a request. RPC protocols over HTTP are more specific.
pub(crate) const HTTP: Protocol = Protocol::new(1);

/// Limit in bytes of a declared length that is believed: a peer can declare any number and send nothing, and the sums of
/// the metrics must not overflow.
pub(crate) const LONGEST: u64 = 1 << 40;

pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    let length = headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
    length.filter(|length| *length <= LONGEST)
}

pub(crate) fn is_event_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map(|kind| kind.as_bytes()).unwrap_or_default();
    let event_stream = b"text/event-stream";
    kind.get(..event_stream.len()).is_some_and(|start| start.eq_ignore_ascii_case(event_stream))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_that_no_body_has_are_ignored() {
        for (declared, length) in [
            ("17", Some(17)),
            ("1099511627776", Some(LONGEST)),
            ("1099511627777", None),
            ("18446744073709551613", None),
            ("-1", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_LENGTH, declared.parse().unwrap());
            assert_eq!(content_length(&headers), length, "{declared}");
        }
    }
}
