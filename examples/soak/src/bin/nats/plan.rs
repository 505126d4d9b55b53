//! The content of each message, determined by its number and the seed.

use async_nats::{HeaderMap, HeaderValue};
use bytes::Bytes;
use soak::Random;

/// The server's size limit of a message, headers included.
pub(crate) const MAX_SIZE: usize = 30_000;

/// The header of a stored message by which the server recognizes a second copy.
const ID: &str = "Nats-Msg-Id";

/// The bytes of a message's headers beside their lines, and of a line beside its name and value.
const FRAME: usize = 12;
const LINE: usize = 4;

/// The plan of one message.
pub(crate) struct Plan {
    /// Stored in a stream; otherwise a request.
    pub(crate) is_stored: bool,
    pub(crate) payload: Bytes,
    pub(crate) headers: HeaderMap,
    /// The size leaves no space for context headers.
    pub(crate) is_full: bool,
    /// The size exceeds the server's limit.
    pub(crate) is_too_large: bool,
}

impl Plan {
    pub(crate) fn new(seed: u64, number: u64) -> Self {
        let mut random = Random::new(seed, number);
        let is_stored = random.below(2) == 0;
        let mut headers = HeaderMap::new();
        let mut length = 8 + random.below(300) as usize;
        let (mut is_full, mut is_too_large) = (false, false);
        match random.below(1000) {
            700..900 => {
                headers.append("Tenant", "a");
                headers.append("Tenant", "b");
                headers.insert("x-text", "v".repeat(random.below(100) as usize + 1));
            }
            // A forwarded message, which already has a context.
            900..920 => headers
                .insert("TraceParent", format!("00-{:032x}-{:016x}-01", number + 1, number + 1).as_str()),
            // Malformed context headers.
            920..940 => {
                headers.append("traceparent", "00-0-0-00");
                headers.append("Traceparent", "zz");
                headers.insert("tracestate", "=,=,");
                headers.insert("baggage", ",;=%");
            }
            940..941 => headers.insert("traceparent", "0".repeat(20_000)),
            941..946 => (0..60).for_each(|index| headers.insert(format!("header-{index}"), "v")),
            946..948 => is_full = true,
            948..950 => is_too_large = true,
            _ => {}
        }
        if is_stored {
            headers.insert(ID, HeaderValue::from(number));
        }
        if is_full {
            length =
                MAX_SIZE - if is_stored { FRAME + LINE + ID.len() + number.to_string().len() } else { 0 };
        }
        if is_too_large {
            length = MAX_SIZE + 1;
        }
        let mut payload = number.to_be_bytes().to_vec();
        payload.resize(length, (number % 251) as u8);
        Self { is_stored, payload: payload.into(), headers, is_full, is_too_large }
    }

    /// Returns true if the message arrived unchanged except for its context headers.
    pub(crate) fn matches(&self, message: &async_nats::Message) -> bool {
        message.payload == self.payload
            && user_headers(message.headers.as_ref()) == user_headers(Some(&self.headers))
    }
}

/// Returns the number of a message from its payload.
pub(crate) fn number(payload: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(payload.first_chunk().copied()?))
}

/// Returns the headers without the context headers, sorted by name.
fn user_headers(headers: Option<&HeaderMap>) -> Vec<(String, Vec<String>)> {
    let is_context = |name: &str| {
        ["traceparent", "tracestate", "baggage"].iter().any(|field| field.eq_ignore_ascii_case(name))
    };
    let headers = headers.into_iter().flat_map(HeaderMap::iter);
    let mut list: Vec<_> = headers
        .map(|(name, values)| (name.to_string(), values.iter().map(ToString::to_string).collect()))
        .filter(|(name, _)| !is_context(name))
        .collect();
    list.sort();
    list
}
