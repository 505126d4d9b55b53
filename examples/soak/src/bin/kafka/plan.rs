//! The content of each message, determined by its number and the seed.

use rdkafka::message::{BorrowedHeaders, BorrowedMessage, Header, Headers as _, Message as _, OwnedHeaders};
use soak::Random;

/// The producer's size limit of a message.
pub(crate) const MAX_SIZE: usize = 30_000;

/// The bytes that librdkafka adds for its size check, plus the longest key.
const OVERHEAD: usize = 36 + 21;

/// The plan of one message.
pub(crate) struct Plan {
    pub(crate) key: Vec<u8>,
    pub(crate) payload: Option<Vec<u8>>,
    pub(crate) headers: Option<OwnedHeaders>,
    /// The size leaves no space for context headers.
    pub(crate) is_full: bool,
    /// The size exceeds the producer's limit.
    pub(crate) is_too_large: bool,
    /// A header name is not UTF-8, which rdkafka cannot read.
    has_unreadable: bool,
    /// The delivery is not awaited.
    pub(crate) is_unawaited: bool,
}

impl Plan {
    pub(crate) fn new(seed: u64, number: u64) -> Self {
        let mut random = Random::new(seed, number);
        let is_unawaited = random.below(20) == 0;
        let text = random.below(2) == 0;
        let key =
            if text { format!("t{number}").into_bytes() } else { [b"b", &number.to_be_bytes()[..]].concat() };
        let length = random.below(300) as usize;
        let mut plan = Self {
            key,
            payload: Some(bytes(&mut random, length)),
            headers: None,
            is_full: false,
            is_too_large: false,
            has_unreadable: false,
            is_unawaited,
        };
        let traceparent = format!("00-{:032x}-{:016x}-01", number + 1, number + 1);
        plan.headers = match random.below(1000) {
            0..700 => None,
            700..900 => {
                let value = bytes(&mut random, 20);
                Some(headers(&[("tenant", Some(&value)), ("tenant", Some(b"again")), ("empty", Some(b""))]))
            }
            // A forwarded or retried message, which already has a context.
            900..920 => {
                Some(headers(&[("tenant", Some(b"t")), ("traceparent", Some(traceparent.as_bytes()))]))
            }
            // Malformed context headers.
            920..940 => {
                let value = bytes(&mut random, 55);
                Some(headers(&[
                    ("traceparent", Some(&value)),
                    ("Traceparent", Some(b"00-0-0-00")),
                    ("tracestate", Some(b"=,=,\xff")),
                    ("baggage", None),
                ]))
            }
            940..960 => {
                plan.has_unreadable = true;
                Some(unreadable(&traceparent))
            }
            960..961 => Some(headers(&[("traceparent", Some(&[b'0'; 20_000])), ("x", Some(&[0xff; 5000]))])),
            961..966 => {
                let names: Vec<String> = (0..60).map(|index| format!("header-{index}")).collect();
                let many: Vec<_> = names.iter().map(|name| (&**name, Some(&b"v"[..]))).collect();
                Some(headers(&many))
            }
            966..976 => Some(headers(&[("", Some(b"no name")), ("null", None)])),
            976..986 => {
                plan.payload = None;
                None
            }
            986..988 => {
                plan.is_full = true;
                plan.payload = Some(bytes(&mut random, MAX_SIZE - OVERHEAD));
                None
            }
            988..990 => {
                plan.is_too_large = true;
                plan.payload = Some(bytes(&mut random, MAX_SIZE + 1));
                None
            }
            _ => None,
        };
        plan
    }

    /// Returns `true` if the message arrived unchanged except for its context headers.
    pub(crate) fn matches(&self, message: &BorrowedMessage<'_>) -> bool {
        let sent = self.headers.as_ref().map(OwnedHeaders::as_borrowed);
        let headers = if self.has_unreadable {
            // Only the number of headers is compared; replacing the context does not change it.
            sent.map(BorrowedHeaders::count) == message.headers().map(BorrowedHeaders::count)
        } else {
            user_headers(sent) == user_headers(message.headers())
        };
        headers && message.key() == Some(&self.key) && message.payload() == self.payload.as_deref()
    }
}

/// Parses the number of a message from its key.
pub(crate) fn number(key: &[u8]) -> Option<u64> {
    match key.split_first()? {
        (b't', text) => std::str::from_utf8(text).ok()?.parse().ok(),
        (_, bytes) => Some(u64::from_be_bytes(bytes.try_into().ok()?)),
    }
}

fn bytes(random: &mut Random, length: usize) -> Vec<u8> {
    (0..length).map(|_| random.below(256) as u8).collect()
}

fn headers(list: &[(&str, Option<&[u8]>)]) -> OwnedHeaders {
    list.iter()
        .fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: *value }))
}

/// Returns headers with a name that is not UTF-8.
#[expect(unsafe_code, reason = "safe code cannot create such a name, but untrusted peers can send one")]
fn unreadable(traceparent: &str) -> OwnedHeaders {
    let name = vec![0xff, 0xfe, b'x'];
    // SAFETY: rdkafka passes pointer and length to librdkafka and does not interpret the bytes as text.
    let key = unsafe { std::str::from_utf8_unchecked(&name) };
    headers(&[("traceparent", Some(traceparent.as_bytes()))])
        .insert(Header { key, value: Some("v") })
        .insert(Header { key: "tenant", value: Some("t") })
}

/// Returns the headers without the context headers.
fn user_headers(headers: Option<&BorrowedHeaders>) -> Vec<(String, Option<Vec<u8>>)> {
    let is_user_header = |name: &str| {
        !["traceparent", "tracestate", "baggage"].iter().any(|field| field.eq_ignore_ascii_case(name))
    };
    let headers = headers.into_iter().flat_map(|headers| headers.iter());
    headers
        .filter(|header| is_user_header(header.key))
        .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
        .collect()
}
