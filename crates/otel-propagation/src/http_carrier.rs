//! HTTP's headers (and gRPC's metadata) as a carrier of context: read in one pass, written with names that are parsed
//! already.
//!
//! Follows the OpenTelemetry specification, "Carrier" (<https://opentelemetry.io/docs/specs/otel/context/api-propagators/#carrier>), and RFC 9110, section 5
//! (<https://www.rfc-editor.org/rfc/rfc9110#section-5>): names have no case, and a header may be repeated.

use crate::carrier::{HeaderReader, HeaderWriter};
use http::header::{HeaderMap, HeaderName, HeaderValue};

/// The names that are written for every request. Parsing one costs as much as writing it.
static KNOWN: [(&str, HeaderName); 4] = [
    ("traceparent", HeaderName::from_static("traceparent")),
    ("tracestate", HeaderName::from_static("tracestate")),
    ("baggage", HeaderName::from_static("baggage")),
    ("b3", HeaderName::from_static("b3")),
];

/// The number of headers up to which a search compares all names.
const FEW: usize = 8;

/// Reads context from a request's headers.
///
/// ```
/// let mut headers = http::HeaderMap::new();
/// headers.insert("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().unwrap());
/// let context = otel_propagation::extract(&otel_propagation::HeaderExtractor(&headers));
/// # let _ = context;
/// ```
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a view that anybody may make")]
pub struct HeaderExtractor<'a>(pub &'a HeaderMap);

impl HeaderReader for HeaderExtractor<'_> {
    #[inline]
    fn visit<'a>(&'a self, mut visitor: impl FnMut(&'a str, &'a [u8])) {
        for (name, value) in self.0 {
            visitor(name.as_str(), value.as_bytes());
        }
    }
}

/// Writes context into a request's headers. Values that a header cannot hold are left out.
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "a view that anybody may make")]
pub struct HeaderInjector<'a>(pub &'a mut HeaderMap);

fn known(name: &str) -> Option<&'static HeaderName> {
    KNOWN.iter().find(|(known, _)| *known == name).map(|(_, header)| header)
}

impl HeaderInjector<'_> {
    #[inline]
    fn insert(&mut self, name: &str, value: HeaderValue) {
        if let Some(name) = known(name) {
            // `try_insert`: a map that is full says so instead of panicking.
            let _ = self.0.try_insert(name, value);
        } else if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
            let _ = self.0.try_insert(name, value);
        }
    }
}

impl HeaderWriter for HeaderInjector<'_> {
    fn set(&mut self, name: &str, value: &str) {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.insert(name, value);
        }
    }

    #[inline]
    fn set_bytes(&mut self, name: &str, value: &[u8]) {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            self.insert(name, value);
        }
    }

    fn remove(&mut self, name: &str) {
        match known(name) {
            // Most requests have few headers and not this one: then comparing all names is cheaper than hashing one.
            Some(name) if self.0.keys_len() <= FEW && !self.0.keys().any(|other| other == name) => {}
            Some(name) => drop(self.0.remove(name)),
            None => drop(self.0.remove(name)),
        }
    }

    fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_headers_are_seen_in_order_and_values_need_not_be_text() {
        let mut headers = HeaderMap::new();
        headers.append("tracestate", HeaderValue::from_static("a=1"));
        headers.append("tracestate", HeaderValue::from_bytes(b"\xff").unwrap());
        let mut seen = Vec::new();
        HeaderExtractor(&headers).visit(|name, value| seen.push((name.to_owned(), value.to_vec())));
        assert_eq!(seen, [("tracestate".into(), b"a=1".to_vec()), ("tracestate".into(), b"\xff".to_vec())]);
    }

    #[test]
    fn writing_replaces_and_ignores_what_no_header_can_hold() {
        let mut headers = HeaderMap::new();
        headers.append("traceparent", HeaderValue::from_static("old"));
        headers.append("traceparent", HeaderValue::from_static("older"));
        let mut carrier = HeaderInjector(&mut headers);
        carrier.set("traceparent", "new");
        carrier.set("x-request-id", "7");
        carrier.set("x bad", "1");
        carrier.set("baggage", "a\r\nevil: 1");
        carrier.remove("X-Missing");
        assert!(carrier.contains("x-request-id"));
        carrier.remove("X-Request-Id");
        assert_eq!(headers.len(), 1);
        assert_eq!(headers["traceparent"], "new");
    }

    #[test]
    fn bytes_are_written_as_their_text() {
        let mut headers = HeaderMap::new();
        let mut carrier = HeaderInjector(&mut headers);
        for (name, value) in [("traceparent", "00-1"), ("x-a", "1\n2"), ("x-b", "\u{fc}")] {
            carrier.set(name, value);
            assert_eq!(carrier.contains(name), name != "x-a", "{name}");
            carrier.remove(name);
            carrier.set_bytes(name, value.as_bytes());
            assert_eq!(carrier.contains(name), name != "x-a", "{name}");
        }
        assert_eq!((headers.len(), headers["x-b"].as_bytes()), (2, "\u{fc}".as_bytes()));
        assert_eq!(headers["traceparent"], "00-1");
    }

    #[test]
    fn a_header_is_removed_from_among_few_and_many_others() {
        for others in [0, 1, FEW - 1, FEW, 2 * FEW] {
            let mut headers = HeaderMap::new();
            for number in 0..others {
                headers
                    .insert(HeaderName::try_from(format!("x-{number}")).unwrap(), HeaderValue::from(number));
            }
            HeaderInjector(&mut headers).remove("tracestate");
            assert_eq!(headers.len(), others);
            headers.append("tracestate", HeaderValue::from_static("a=1"));
            headers.append("tracestate", HeaderValue::from_static("b=2"));
            HeaderInjector(&mut headers).remove("tracestate");
            assert_eq!((headers.len(), headers.contains_key("tracestate")), (others, false));
        }
    }
}
