//! Carriers for NATS headers, whose names are case-sensitive and may repeat.
//!
//! Follows the [OpenTelemetry specification, Context, Propagators
//! API](https://opentelemetry.io/docs/specs/otel/context/api-propagators/), "Carrier". Names in any case are read; they are
//! written in lower case, because the getters of other NATS clients compare names with their case.

use std::borrow::Cow;

use async_nats::{HeaderMap, HeaderName, HeaderValue};
use otel_propagation::{HeaderReader, HeaderWriter};

/// The bytes of a header beside its name and value: colon, space, CR and LF.
pub(crate) const PER_HEADER: usize = 4;

/// The bytes that headers cost beside their lines: `NATS/1.0`, and the empty line after them.
const FRAME: usize = 12;

/// The bytes of headers, their frame included, with which a stream stores a message. Any subject may belong to one.
const MAX_HEADERS: usize = 65_535;

/// Reads context from the headers of a message.
///
/// ```
/// use async_nats::HeaderMap;
/// use otel_nats::HeaderExtractor;
///
/// let mut headers = HeaderMap::new();
/// headers.insert("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
/// let context = otel_propagation::extract(&HeaderExtractor::new(Some(&headers)));
/// # let _ = context;
/// ```
#[derive(Clone, Copy, Debug)]
pub struct HeaderExtractor<'a>(Option<&'a HeaderMap>);

impl<'a> HeaderExtractor<'a> {
    /// Reads these headers, if there are any: `message.headers.as_ref()`.
    #[must_use]
    pub fn new(headers: Option<&'a HeaderMap>) -> Self {
        Self(headers)
    }
}

impl HeaderReader for HeaderExtractor<'_> {
    fn visit<'a>(&'a self, mut visitor: impl FnMut(&'a str, &'a [u8])) {
        let Some(headers) = self.0 else { return };
        for (name, values) in headers.iter() {
            for value in values {
                visitor(name.as_ref(), value.as_ref());
            }
        }
    }
}

/// Writes context into the headers of a message before it is published: `HeaderInjector(&mut headers)`.
///
/// Names are written in lower case. Setting or removing a header removes all headers of that name in any case. A name or
/// a value that NATS headers cannot hold is ignored.
///
/// ```
/// use async_nats::HeaderMap;
/// use opentelemetry::Context;
/// use otel_nats::HeaderInjector;
///
/// let mut headers = HeaderMap::new();
/// otel_propagation::inject(&Context::current(), &mut HeaderInjector(&mut headers));
/// ```
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "a view that anybody may make")]
pub struct HeaderInjector<'a>(pub &'a mut HeaderMap);

impl HeaderWriter for HeaderInjector<'_> {
    fn set(&mut self, name: &str, value: &str) {
        set(self.0, name, value);
    }

    fn remove(&mut self, name: &str) {
        remove(self.0, name);
    }

    fn contains(&self, name: &str) -> bool {
        contains(self.0, name)
    }
}

/// The headers of a message that is about to be sent, which are absent until the first is written.
#[derive(Debug, Default)]
pub(crate) struct OutboundHeaders(pub(crate) Option<HeaderMap>);

impl HeaderReader for OutboundHeaders {
    fn visit<'a>(&'a self, mut visitor: impl FnMut(&'a str, &'a [u8])) {
        for (name, values) in self.0.iter().flat_map(HeaderMap::iter) {
            for value in values {
                visitor(name.as_ref(), value.as_ref());
            }
        }
    }
}

impl HeaderWriter for OutboundHeaders {
    fn set(&mut self, name: &str, value: &str) {
        set(self.0.get_or_insert_default(), name, value);
    }

    fn remove(&mut self, name: &str) {
        if let Some(headers) = &mut self.0 {
            remove(headers, name);
        }
    }

    fn contains(&self, name: &str) -> bool {
        self.0.as_ref().is_some_and(|headers| contains(headers, name))
    }
}

/// Returns the bytes by which the headers of a message may still grow, or `None` if it is too large without any.
pub(crate) fn budget(headers: Option<&HeaderMap>, payload: usize, max_size: usize) -> Option<usize> {
    let lines = headers.map_or(0, |headers| headers.iter().map(lines_len).sum());
    let left = max_size.checked_sub(payload)?.checked_sub(lines)?;
    let left = match lines {
        // The first header adds the frame, for which there may be no space.
        0 => left.saturating_sub(FRAME),
        _ => left.checked_sub(FRAME)?,
    };
    Some(left.min(MAX_HEADERS.saturating_sub(FRAME + lines)))
}

fn lines_len((name, values): (&HeaderName, &Vec<HeaderValue>)) -> usize {
    let name: &str = name.as_ref();
    values.iter().map(|value| name.len() + value.as_str().len() + PER_HEADER).sum()
}

fn set(headers: &mut HeaderMap, name: &str, value: &str) {
    // The conversions return errors; `insert` with texts panics on what NATS headers cannot hold.
    let (Ok(key), Ok(value)) = (lower_case(name).parse::<HeaderName>(), value.parse::<HeaderValue>()) else {
        return;
    };
    // The client accepts an empty name, but no receiver reads a line without one.
    if name.is_empty() {
        return;
    }
    if headers.iter().any(|(other, _)| *other != key && is_named(other, name)) {
        remove(headers, name);
    }
    headers.insert(key, value);
}

/// Rebuilds the headers, because they have no method that removes one.
fn remove(headers: &mut HeaderMap, name: &str) {
    if !contains(headers, name) {
        return;
    }
    let mut kept = HeaderMap::new();
    for (other, values) in headers.iter().filter(|(other, _)| !is_named(other, name)) {
        for value in values {
            kept.append(other.clone(), value.clone());
        }
    }
    *headers = kept;
}

fn contains(headers: &HeaderMap, name: &str) -> bool {
    headers.iter().any(|(other, values)| is_named(other, name) && !values.is_empty())
}

fn is_named(other: &HeaderName, name: &str) -> bool {
    let other: &str = other.as_ref();
    other.eq_ignore_ascii_case(name)
}

fn lower_case(name: &str) -> Cow<'_, str> {
    match name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => Cow::Owned(name.to_ascii_lowercase()),
        false => Cow::Borrowed(name),
    }
}

#[cfg(test)]
mod tests;
