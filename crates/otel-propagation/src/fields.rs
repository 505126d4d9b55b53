//! Names of the headers that the formats own, and the lexical rules that they share.
//!
//! Follows RFC 9110, sections 5.1 and 5.6 (<https://www.rfc-editor.org/rfc/rfc9110#section-5.6>).

pub(crate) const TRACEPARENT: &str = "traceparent";
pub(crate) const TRACESTATE: &str = "tracestate";
pub(crate) const BAGGAGE: &str = "baggage";

// B3 in the spelling of its specification, for carriers that keep case: Java's reader compares case.
pub(crate) const B3_SINGLE: &str = "b3";
pub(crate) const B3_TRACE_ID: &str = "X-B3-TraceId";
pub(crate) const B3_SPAN_ID: &str = "X-B3-SpanId";
pub(crate) const B3_SAMPLED: &str = "X-B3-Sampled";
pub(crate) const B3_FLAGS: &str = "X-B3-Flags";
/// Neither read nor sent, as the specification asks, but a stale one must not be forwarded.
pub(crate) const B3_PARENT_SPAN_ID: &str = "X-B3-ParentSpanId";

/// The headers of B3 that are read.
pub(crate) const B3: [&str; 5] = [B3_SINGLE, B3_TRACE_ID, B3_SPAN_ID, B3_SAMPLED, B3_FLAGS];

/// Headers that are written and removed together, because one without the others gives another meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderSet {
    /// `traceparent` and `tracestate`.
    TraceContext,
    B3,
    Baggage,
    /// All headers of a propagator that are not known here.
    Other,
}

impl HeaderSet {
    /// Returns the set that a header belongs to.
    pub(crate) fn containing(name: &str) -> Self {
        if is_named(name, TRACEPARENT) || is_named(name, TRACESTATE) {
            Self::TraceContext
        } else if is_named(name, BAGGAGE) {
            Self::Baggage
        } else if B3.iter().any(|known| is_named(name, known)) || is_named(name, B3_PARENT_SPAN_ID) {
            Self::B3
        } else {
            Self::Other
        }
    }
}

/// Compares the name of a header. The first letter distinguishes most names, and nearly all carriers hold lower case, for
/// which comparing bytes is enough.
#[inline]
pub(crate) fn is_named(name: &str, known: &str) -> bool {
    const CASE: u8 = 0x20;
    let first = |name: &str| name.as_bytes().first().map(|first| first | CASE);
    first(name) == first(known) && (name == known || name.eq_ignore_ascii_case(known))
}

/// Removes the optional white space around a field value or a list member (RFC 9110, section 5.6.3).
#[inline]
pub(crate) fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Recognizes a token (RFC 9110, section 5.6.2), the form of names of headers and of baggage members.
pub(crate) fn is_token(name: &[u8]) -> bool {
    const SPECIAL: &[u8] = b"!#$%&'*+-.^_`|~";
    !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || SPECIAL.contains(byte))
}
