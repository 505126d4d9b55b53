//! What each message is, chosen by its number and the seed alone.

use rdkafka::message::{BorrowedHeaders, BorrowedMessage, Header, Headers as _, Message as _, OwnedHeaders};
use soak::Random;

/// The largest message that a producer takes.
pub(crate) const LARGEST: usize = 30_000;

/// What librdkafka adds to a message for its check, and the longest key.
const OVERHEAD: usize = 36 + 21;

/// One message.
pub(crate) struct Plan {
    pub(crate) key: Vec<u8>,
    pub(crate) payload: Option<Vec<u8>>,
    pub(crate) headers: Option<OwnedHeaders>,
    /// No room for a header of ours.
    pub(crate) is_full: bool,
    /// Larger than the producer takes.
    pub(crate) is_refused: bool,
    /// rdkafka cannot read such headers.
    has_unreadable: bool,
    /// Nobody waits for the broker's word.
    pub(crate) is_forgotten: bool,
}

impl Plan {
    pub(crate) fn new(seed: u64, number: u64) -> Self {
        let mut random = Random::new(seed, number);
        let is_forgotten = random.below(20) == 0;
        let text = random.below(2) == 0;
        let key =
            if text { format!("t{number}").into_bytes() } else { [b"b", &number.to_be_bytes()[..]].concat() };
        let length = random.below(300) as usize;
        let mut plan = Self {
            key,
            payload: Some(bytes(&mut random, length)),
            headers: None,
            is_full: false,
            is_refused: false,
            has_unreadable: false,
            is_forgotten,
        };
        let traceparent = format!("00-{:032x}-{:016x}-01", number + 1, number + 1);
        plan.headers = match random.below(1000) {
            0..700 => None,
            700..900 => {
                let value = bytes(&mut random, 20);
                Some(headers(&[("tenant", Some(&value)), ("tenant", Some(b"again")), ("empty", Some(b""))]))
            }
            // Forwarded, or tried again.
            900..920 => {
                Some(headers(&[("tenant", Some(b"t")), ("traceparent", Some(traceparent.as_bytes()))]))
            }
            // What nobody can read.
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
                plan.payload = Some(bytes(&mut random, LARGEST - OVERHEAD));
                None
            }
            988..990 => {
                plan.is_refused = true;
                plan.payload = Some(bytes(&mut random, LARGEST + 1));
                None
            }
            _ => None,
        };
        plan
    }

    /// Whether a message arrived as it was sent: all but the headers in which context is carried.
    pub(crate) fn is(&self, message: &BorrowedMessage<'_>) -> bool {
        let sent = self.headers.as_ref().map(OwnedHeaders::as_borrowed);
        let headers = if self.has_unreadable {
            // Its own context is replaced, or stays: the number is the same.
            sent.map(BorrowedHeaders::count) == message.headers().map(BorrowedHeaders::count)
        } else {
            listed(sent) == listed(message.headers())
        };
        headers && message.key() == Some(&self.key) && message.payload() == self.payload.as_deref()
    }
}

/// The number of the message that has this key.
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

/// Headers of which one has a name that is not UTF-8.
#[expect(unsafe_code, reason = "no safe code can write such a name, and strangers can")]
fn unreadable(traceparent: &str) -> OwnedHeaders {
    let name = vec![0xff, 0xfe, b'x'];
    // SAFETY: rdkafka hands address and length to librdkafka, and looks at nothing as text on the way.
    let key = unsafe { std::str::from_utf8_unchecked(&name) };
    headers(&[("traceparent", Some(traceparent.as_bytes()))])
        .insert(Header { key, value: Some("v") })
        .insert(Header { key: "tenant", value: Some("t") })
}

/// The headers that are the user's own.
fn listed(headers: Option<&BorrowedHeaders>) -> Vec<(String, Option<Vec<u8>>)> {
    let is_own = |name: &str| {
        !["traceparent", "tracestate", "baggage"].iter().any(|field| field.eq_ignore_ascii_case(name))
    };
    let headers = headers.into_iter().flat_map(|headers| headers.iter());
    headers
        .filter(|header| is_own(header.key))
        .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
        .collect()
}
