//! Carriers for header tables, whose names are case-sensitive and unique.
//!
//! Follows the [OpenTelemetry specification, Context, Propagators
//! API](https://opentelemetry.io/docs/specs/otel/context/api-propagators/), "Carrier". Names in any case are read; they are
//! written in lower case, because the getters of other clients compare names with their case.

use std::collections::BTreeMap;

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use otel_propagation::{HeaderReader, HeaderWriter};

/// The bytes of a header beside its name and value: the lengths of both, and the type of the value.
pub(crate) const PER_HEADER: usize = 6;

/// The bytes of the header frame that are left to the broker, which adds `x-death` to a message that it dead-letters, and
/// other headers by its plugins. A frame that is too large on delivery closes the consumer's connection.
const RESERVE: usize = 4096;

/// The bytes of a header frame beside the properties that differ: the frame itself, the size of the body, flags, and the
/// three properties of fixed size.
const FRAME: usize = 8 + 14 + 10;

/// Reads context from the headers of a message: texts and byte arrays, at the top level of the table.
///
/// ```
/// use lapin::types::{AMQPValue, FieldTable};
/// use otel_amqp::HeaderExtractor;
///
/// let mut headers = FieldTable::default();
/// let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// headers.insert("traceparent".into(), AMQPValue::LongString(parent.into()));
/// let context = otel_propagation::extract(&HeaderExtractor::new(Some(&headers)));
/// # let _ = context;
/// ```
#[derive(Clone, Copy, Debug)]
pub struct HeaderExtractor<'a>(Option<&'a FieldTable>);

impl<'a> HeaderExtractor<'a> {
    /// Reads these headers, if there are any: `properties.headers().as_ref()`.
    #[must_use]
    pub fn new(headers: Option<&'a FieldTable>) -> Self {
        Self(headers)
    }
}

impl HeaderReader for HeaderExtractor<'_> {
    fn visit<'a>(&'a self, visitor: impl FnMut(&'a str, &'a [u8])) {
        visit(self.0, visitor);
    }
}

/// Writes context into the headers of a message before it is published: `HeaderInjector(&mut headers)`.
///
/// Names are written in lower case, values as `LongString`. Setting or removing a header removes all headers of that name
/// in any case. A name that is longer than 255 bytes is ignored.
///
/// ```
/// use lapin::types::FieldTable;
/// use opentelemetry::Context;
/// use otel_amqp::HeaderInjector;
///
/// let mut headers = FieldTable::default();
/// otel_propagation::inject(&Context::current(), &mut HeaderInjector(&mut headers));
/// ```
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "a view that anybody may make")]
pub struct HeaderInjector<'a>(pub &'a mut FieldTable);

impl HeaderReader for HeaderInjector<'_> {
    fn visit<'a>(&'a self, visitor: impl FnMut(&'a str, &'a [u8])) {
        visit(Some(self.0), visitor);
    }
}

impl HeaderWriter for HeaderInjector<'_> {
    fn set(&mut self, name: &str, value: &str) {
        self.set_bytes(name, value.as_bytes());
    }

    fn set_bytes(&mut self, name: &str, value: &[u8]) {
        let Ok(key) = ShortString::try_new(name.to_ascii_lowercase()) else { return };
        if self.0.inner().keys().any(|other| *other != key && is_named(other, name)) {
            self.remove(name);
        }
        self.0.insert(key, AMQPValue::LongString(value.into()));
    }

    /// Rebuilds the table, because it has no method that removes an entry.
    fn remove(&mut self, name: &str) {
        if !self.contains(name) {
            return;
        }
        let kept = self.0.inner().iter().filter(|(other, _)| !is_named(other, name));
        let kept: BTreeMap<_, _> = kept.map(|(other, value)| (other.clone(), value.clone())).collect();
        *self.0 = kept.into();
    }

    fn contains(&self, name: &str) -> bool {
        self.0.inner().keys().any(|other| is_named(other, name))
    }
}

/// Returns the bytes by which the headers of a message may still grow. lapin does not check the size of the header frame,
/// and the broker closes the connection when it exceeds `frame_max`, which is 0 without a limit.
pub(crate) fn budget(properties: &BasicProperties, frame_max: u32) -> usize {
    let frame_max = match frame_max {
        0 => usize::MAX,
        limit => usize::try_from(limit).unwrap_or(usize::MAX),
    };
    frame_max.saturating_sub(RESERVE + FRAME).saturating_sub(size(properties))
}

/// Returns at least the encoded size of the properties.
fn size(properties: &BasicProperties) -> usize {
    let texts = [
        properties.content_type(),
        properties.content_encoding(),
        properties.correlation_id(),
        properties.reply_to(),
        properties.expiration(),
        properties.message_id(),
        properties.kind(),
        properties.user_id(),
        properties.app_id(),
        properties.cluster_id(),
    ];
    let texts: usize = texts.into_iter().flatten().map(|text| text.as_str().len() + 1).sum();
    texts + properties.headers().as_ref().map_or(0, table_size)
}

/// Returns the encoded size of a table. It does not recurse: a table that an untrusted peer has nested deeply can be sent
/// on.
fn table_size(table: &FieldTable) -> usize {
    const LENGTH: usize = 4;
    let mut size = LENGTH;
    let mut rest: Vec<&AMQPValue> = Vec::new();
    let entries =
        |table: &FieldTable| table.inner().keys().map(|name| 1 + name.as_str().len()).sum::<usize>();
    size += entries(table);
    rest.extend(table.inner().values());
    while let Some(value) = rest.pop() {
        // The type of the value.
        size += 1;
        size += match value {
            AMQPValue::Void => 0,
            AMQPValue::Boolean(_) | AMQPValue::ShortShortInt(_) | AMQPValue::ShortShortUInt(_) => 1,
            AMQPValue::ShortInt(_) | AMQPValue::ShortUInt(_) => 2,
            AMQPValue::LongInt(_) | AMQPValue::LongUInt(_) | AMQPValue::Float(_) => 4,
            AMQPValue::DecimalValue(_) => 5,
            AMQPValue::LongLongInt(_) | AMQPValue::Double(_) | AMQPValue::Timestamp(_) => 8,
            AMQPValue::ShortString(text) => 1 + text.as_str().len(),
            AMQPValue::LongString(text) => LENGTH + text.len(),
            AMQPValue::ByteArray(bytes) => LENGTH + bytes.len(),
            AMQPValue::FieldArray(values) => {
                rest.extend(values.as_slice());
                LENGTH
            }
            AMQPValue::FieldTable(table) => {
                rest.extend(table.inner().values());
                LENGTH + entries(table)
            }
        };
    }
    size
}

fn visit<'a>(headers: Option<&'a FieldTable>, mut visitor: impl FnMut(&'a str, &'a [u8])) {
    for (name, value) in headers.into_iter().flat_map(FieldTable::inner) {
        let value = match value {
            AMQPValue::LongString(text) => text.as_bytes(),
            AMQPValue::ByteArray(bytes) => bytes.as_slice(),
            // A text that this process made: no peer can send one.
            AMQPValue::ShortString(text) => text.as_str().as_bytes(),
            _ => continue,
        };
        visitor(name.as_str(), value);
    }
}

fn is_named(other: &ShortString, name: &str) -> bool {
    other.as_str().eq_ignore_ascii_case(name)
}

#[cfg(test)]
mod tests;
