//! Carriers for Kafka headers, whose names and values may be any bytes and whose names may repeat.
//!
//! Follows the [OpenTelemetry specification, Context, Propagators
//! API](https://opentelemetry.io/docs/specs/otel/context/api-propagators/), "Carrier". Among headers with the same
//! name the last one is read, because Kafka clients append headers and read the last one.

pub(crate) mod raw;

use std::ffi::{CStr, CString};

use otel_propagation::{HeaderReader, HeaderWriter};
use rdkafka::message::{BorrowedHeaders, BorrowedMessage, Message, OwnedHeaders, OwnedMessage};

/// The number of wanted names that are remembered without an allocation.
const FEW: usize = 4;

/// The initial capacity for the headers that a propagator writes; librdkafka grows it if necessary. A list of three is the
/// largest that fits into the smallest block of glibc's allocator, which is nearly always at hand.
const OURS: usize = 3;

/// Reads context from the headers of a received message or from `OwnedHeaders`.
///
/// Among headers whose names differ only in case, propagators read the last one. A header whose name is not UTF-8 is
/// skipped. The headers of a message are parsed when a propagator reads them. rdkafka's `BorrowedHeaders` are not accepted,
/// because safe code can create one that refers to no headers.
///
/// ```
/// use otel_kafka::HeaderExtractor;
/// use rdkafka::message::{Header, OwnedHeaders};
///
/// let headers = OwnedHeaders::new().insert(Header {
///     key: "traceparent",
///     value: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
/// });
/// let context = otel_propagation::extract(&HeaderExtractor::new(&headers));
/// # let _ = context;
/// ```
///
/// ```compile_fail,E0308
/// fn read(headers: &rdkafka::message::BorrowedHeaders) {
///     let _ = otel_kafka::HeaderExtractor::new(headers);
/// }
/// ```
#[derive(Clone, Copy)]
pub struct HeaderExtractor<'a>(Source<'a>);

#[derive(Clone, Copy)]
enum Source<'a> {
    Headers(&'a OwnedHeaders),
    Received(&'a BorrowedMessage<'a>),
    Detached(&'a OwnedMessage),
}

impl<'a> HeaderExtractor<'a> {
    /// Reads the given headers.
    #[must_use]
    pub fn new(headers: &'a OwnedHeaders) -> Self {
        Self(Source::Headers(headers))
    }

    /// Reads the headers of a received message, if it has any.
    #[must_use]
    pub fn from_message(message: &'a BorrowedMessage<'a>) -> Self {
        Self(Source::Received(message))
    }

    /// Reads the headers of a message that was detached from its consumer, if it has any.
    #[must_use]
    pub fn from_owned_message(message: &'a OwnedMessage) -> Self {
        Self(Source::Detached(message))
    }

    fn headers(&self) -> Option<&'a BorrowedHeaders> {
        match self.0 {
            Source::Headers(headers) => Some(headers.as_borrowed()),
            Source::Received(message) => message.headers(),
            Source::Detached(message) => message.headers().map(OwnedHeaders::as_borrowed),
        }
    }
}

impl std::fmt::Debug for HeaderExtractor<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("HeaderExtractor").field(&self.headers().map_or(0, raw::count)).finish()
    }
}

/// Returns a header whose name is UTF-8.
fn named(headers: &BorrowedHeaders, index: usize) -> Option<(&str, Option<&[u8]>)> {
    let (name, value) = raw::get(headers, index)?;
    Some((name.to_str().ok()?, value))
}

impl HeaderReader for HeaderExtractor<'_> {
    fn visit<'a>(&'a self, visitor: impl FnMut(&'a str, &'a [u8])) {
        visit(self.headers(), visitor);
    }

    /// Visits the last header of each wanted name.
    fn visit_wanted<'a>(&'a self, wanted: impl Fn(&str) -> bool, visitor: impl FnMut(&'a str, &'a [u8])) {
        visit_wanted(self.headers(), wanted, visitor);
    }
}

fn visit<'a>(headers: Option<&'a BorrowedHeaders>, mut visitor: impl FnMut(&'a str, &'a [u8])) {
    let Some(headers) = headers else { return };
    for index in 0..raw::count(headers) {
        if let Some((name, Some(value))) = named(headers, index) {
            visitor(name, value);
        }
    }
}

fn visit_wanted<'a>(
    headers: Option<&'a BorrowedHeaders>,
    wanted: impl Fn(&str) -> bool,
    mut visitor: impl FnMut(&'a str, &'a [u8]),
) {
    let Some(headers) = headers else { return };
    // Only names that a propagator reads get here, so that a hostile number of headers costs one comparison each.
    let (mut first, mut len, mut others) = ([""; FEW], 0, Vec::new());
    for index in (0..raw::count(headers)).rev() {
        let Some((name, value)) = named(headers, index) else { continue };
        let mut later = first[..len].iter().chain(&others);
        if !wanted(name) || later.any(|later| later.eq_ignore_ascii_case(name)) {
            continue;
        }
        match first.get_mut(len) {
            Some(slot) => (*slot, len) = (name, len + 1),
            None => others.push(name),
        }
        if let Some(value) = value {
            visitor(name, value);
        }
    }
}

/// Writes context into the headers of a record before it is sent: `HeaderInjector(&mut record.headers)`.
///
/// Setting or removing a header removes all headers of that name in any case. Other headers are unchanged, including
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
        self.set_bytes(name, value.as_bytes());
    }

    fn set_bytes(&mut self, name: &str, value: &[u8]) {
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

fn append(headers: &mut Option<OwnedHeaders>, name: &str, value: &[u8]) {
    raw::add(headers.get_or_insert_with(|| OwnedHeaders::new_with_capacity(OURS)), name, value);
}

/// Returns the exact name of the first header that matches `name` in any case.
fn find(headers: &BorrowedHeaders, name: &str) -> Option<CString> {
    let is_it = |found: &&CStr| found.to_bytes().eq_ignore_ascii_case(name.as_bytes());
    let mut names = (0..raw::count(headers)).filter_map(|index| raw::get(headers, index));
    names.find_map(|(found, _)| is_it(&found).then(|| found.to_owned()))
}

/// The headers of a record during injection. They keep enough state to restore the record's original headers.
pub(crate) struct HeaderEdit {
    pub(crate) headers: Option<OwnedHeaders>,
    original: OriginalHeaders,
    is_changed: bool,
}

/// The original headers of a record.
#[derive(Debug)]
pub(crate) enum OriginalHeaders {
    /// The record had no headers.
    None,
    /// The first headers, this many, are the original ones; the injected ones follow them.
    First(usize),
    /// A copy of the original headers, taken before injection replaced or removed one of them.
    Kept(OwnedHeaders),
}

impl HeaderEdit {
    pub(crate) fn new(headers: Option<OwnedHeaders>) -> Self {
        let original = match &headers {
            Some(headers) => OriginalHeaders::First(raw::count(headers.as_borrowed())),
            None => OriginalHeaders::None,
        };
        Self { headers, original, is_changed: false }
    }

    /// Returns the headers to send, and the original ones if they differ.
    pub(crate) fn into_parts(self) -> (Option<OwnedHeaders>, Option<OriginalHeaders>) {
        (self.headers, self.is_changed.then_some(self.original))
    }

    fn borrowed(&self) -> Option<&BorrowedHeaders> {
        self.headers.as_ref().map(OwnedHeaders::as_borrowed)
    }
}

impl HeaderReader for HeaderEdit {
    fn visit<'a>(&'a self, visitor: impl FnMut(&'a str, &'a [u8])) {
        visit(self.borrowed(), visitor);
    }

    fn visit_wanted<'a>(&'a self, wanted: impl Fn(&str) -> bool, visitor: impl FnMut(&'a str, &'a [u8])) {
        visit_wanted(self.borrowed(), wanted, visitor);
    }
}

impl HeaderWriter for HeaderEdit {
    fn set(&mut self, name: &str, value: &str) {
        self.set_bytes(name, value.as_bytes());
    }

    #[inline]
    fn set_bytes(&mut self, name: &str, value: &[u8]) {
        if self.headers.is_some() {
            HeaderWriter::remove(self, name);
        }
        append(&mut self.headers, name, value);
        self.is_changed = true;
    }

    fn remove(&mut self, name: &str) {
        let Some(headers) = &self.headers else { return };
        if find(headers.as_borrowed(), name).is_none() {
            return;
        }
        if !matches!(self.original, OriginalHeaders::Kept(_)) {
            let before = std::mem::replace(&mut self.original, OriginalHeaders::None);
            self.original =
                before.restore(self.headers.clone()).map_or(OriginalHeaders::None, OriginalHeaders::Kept);
        }
        HeaderInjector(&mut self.headers).remove(name);
        self.is_changed = true;
    }

    fn contains(&self, name: &str) -> bool {
        self.headers.as_ref().is_some_and(|headers| find(headers.as_borrowed(), name).is_some())
    }
}

impl OriginalHeaders {
    /// Restores the original headers from the headers that were sent.
    pub(crate) fn restore(self, sent: Option<OwnedHeaders>) -> Option<OwnedHeaders> {
        match self {
            Self::None => None,
            Self::Kept(headers) => Some(headers),
            Self::First(count) => {
                let mut headers = sent?;
                // `raw::remove` removes by name. No original header has the name of an injected one: otherwise this
                // would be `Kept`.
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
