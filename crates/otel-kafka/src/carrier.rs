//! Kafka's headers as a carrier of context: any bytes may be their values and their names, and a name may be there
//! more than once.
//!
//! Follows the [OpenTelemetry specification, Context, Propagators
//! API](https://opentelemetry.io/docs/specs/otel/context/api-propagators/), "Carrier". Clients of Kafka append
//! headers and read the last one of a name, so that the last one counts here, too.

pub(crate) mod raw;

use std::collections::HashSet;
use std::ffi::{CStr, CString};

use otel_propagation::{HeaderReader, HeaderWriter};
use rdkafka::message::{BorrowedHeaders, Header, Message, OwnedHeaders};

/// Up to so many headers are compared with each other; beyond, they are hashed.
const FEW: usize = 16;

/// Room for what a propagator writes; librdkafka makes more when it is needed.
const OURS: usize = 4;

/// Reads context from a message's headers, those of a received message or `OwnedHeaders`.
///
/// Of headers whose names are the same but for their case, the last one is read. A header whose name is not UTF-8 is
/// left out, and does no harm.
///
/// ```
/// use otel_kafka::HeaderExtractor;
/// use rdkafka::message::{Header, OwnedHeaders};
///
/// let headers = OwnedHeaders::new().insert(Header {
///     key: "traceparent",
///     value: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
/// });
/// let context = otel_propagation::extract(&HeaderExtractor::new(headers.as_borrowed()));
/// # let _ = context;
/// ```
#[derive(Clone, Copy)]
pub struct HeaderExtractor<'a>(Option<&'a BorrowedHeaders>);

impl<'a> HeaderExtractor<'a> {
    /// Reads these headers: of `OwnedHeaders`, their `as_borrowed()`.
    #[must_use]
    pub fn new(headers: &'a BorrowedHeaders) -> Self {
        Self(Some(headers))
    }

    /// Reads the headers of a received message, which may have none.
    #[must_use]
    pub fn of<M: Message<Headers = BorrowedHeaders>>(message: &'a M) -> Self {
        Self(message.headers())
    }
}

impl std::fmt::Debug for HeaderExtractor<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("HeaderExtractor").field(&self.0.map_or(0, raw::count)).finish()
    }
}

fn name_of(headers: &BorrowedHeaders, index: usize) -> Option<&str> {
    raw::get(headers, index)?.0.to_str().ok()
}

impl HeaderReader for HeaderExtractor<'_> {
    fn visit<'a>(&'a self, mut visitor: impl FnMut(&'a str, &'a [u8])) {
        let Some(headers) = self.0 else { return };
        let count = raw::count(headers);
        let mut later = HashSet::new();
        // From the last one: what a name has been seen with is what counts.
        for index in (0..count).rev() {
            let Some((name, value)) = raw::get(headers, index) else { continue };
            let Ok(name) = name.to_str() else { continue };
            let is_last = if count <= FEW {
                !(index + 1..count).any(|other| {
                    name_of(headers, other).is_some_and(|other| other.eq_ignore_ascii_case(name))
                })
            } else {
                later.insert(name.to_ascii_lowercase())
            };
            if let (true, Some(value)) = (is_last, value) {
                visitor(name, value);
            }
        }
    }
}

/// Writes context into the headers of a record that is not sent yet: `HeaderInjector(&mut record.headers)`.
///
/// A header that is replaced or removed goes with all of its namesakes, in any case; all others stay as they are, also
/// those whose names are not UTF-8.
///
/// ```
/// use opentelemetry::Context;
/// use otel_kafka::HeaderInjector;
/// use rdkafka::producer::FutureRecord;
///
/// let mut record = FutureRecord::to("orders").key("7").payload("one book");
/// otel_propagation::inject(&Context::current(), &mut HeaderInjector(&mut record.headers));
/// ```
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "a view that anybody may make")]
pub struct HeaderInjector<'a>(pub &'a mut Option<OwnedHeaders>);

impl HeaderWriter for HeaderInjector<'_> {
    fn set(&mut self, name: &str, value: &str) {
        self.remove(name);
        append(self.0, name, value);
    }

    fn remove(&mut self, name: &str) {
        let Some(headers) = self.0 else { return };
        while let Some(found) = find(headers.as_borrowed(), name) {
            raw::remove(headers, &found);
        }
    }

    fn contains(&self, name: &str) -> bool {
        self.0.as_ref().is_some_and(|headers| find(headers.as_borrowed(), name).is_some())
    }
}

fn append(headers: &mut Option<OwnedHeaders>, name: &str, value: &str) {
    let written = headers.take().unwrap_or_else(|| OwnedHeaders::new_with_capacity(OURS));
    *headers = Some(written.insert(Header { key: name, value: Some(value) }));
}

/// A header's name as it is written, if there is one of this name in any case.
fn find(headers: &BorrowedHeaders, name: &str) -> Option<CString> {
    let is_it = |found: &&CStr| found.to_bytes().eq_ignore_ascii_case(name.as_bytes());
    let mut names = (0..raw::count(headers)).filter_map(|index| raw::get(headers, index));
    names.find_map(|(found, _)| is_it(&found).then(|| found.to_owned()))
}

/// A record's headers while context is written into them, so that the record's own can be had back.
pub(crate) struct Written {
    pub(crate) headers: Option<OwnedHeaders>,
    own: Own,
}

/// What a record's headers were before.
#[derive(Debug)]
pub(crate) enum Own {
    /// There were none.
    None,
    /// They are the first ones, so many; what follows is ours.
    First(usize),
    /// Some of them had to be replaced.
    Kept(OwnedHeaders),
}

impl Written {
    pub(crate) fn new(headers: Option<OwnedHeaders>) -> Self {
        let own = match &headers {
            Some(headers) => Own::First(raw::count(headers.as_borrowed())),
            None => Own::None,
        };
        Self { headers, own }
    }

    /// The headers with what was written, and what the record's own ones were.
    pub(crate) fn into_parts(self) -> (Option<OwnedHeaders>, Own) {
        (self.headers, self.own)
    }
}

impl HeaderWriter for Written {
    fn set(&mut self, name: &str, value: &str) {
        HeaderWriter::remove(self, name);
        append(&mut self.headers, name, value);
    }

    fn remove(&mut self, name: &str) {
        let Some(headers) = &self.headers else { return };
        if find(headers.as_borrowed(), name).is_none() {
            return;
        }
        if !matches!(self.own, Own::Kept(_)) {
            let before = std::mem::replace(&mut self.own, Own::None);
            self.own = before.restore(self.headers.clone()).map_or(Own::None, Own::Kept);
        }
        HeaderInjector(&mut self.headers).remove(name);
    }

    fn contains(&self, name: &str) -> bool {
        self.headers.as_ref().is_some_and(|headers| find(headers.as_borrowed(), name).is_some())
    }
}

impl Own {
    /// The record's own headers, out of those that it was sent with.
    pub(crate) fn restore(self, sent: Option<OwnedHeaders>) -> Option<OwnedHeaders> {
        match self {
            Self::None => None,
            Self::Kept(headers) => Some(headers),
            Self::First(count) => {
                let mut headers = sent?;
                // Ours have names that none of the first ones has.
                while let Some(ours) = raw::get(headers.as_borrowed(), count).map(|(name, _)| name.to_owned())
                {
                    raw::remove(&mut headers, &ours);
                }
                Some(headers)
            }
        }
    }
}

#[cfg(test)]
mod tests;
