//! Carriers for the fields of an entry, which hold the payload of a message and its context.
//!
//! Follows the [OpenTelemetry specification, Context, Propagators
//! API](https://opentelemetry.io/docs/specs/otel/context/api-propagators/), "Carrier". Fields are bytes, may be in any case and
//! may repeat. Names in any case are read; they are written in lower case.

use std::collections::HashMap;

use otel_propagation::{HeaderReader, HeaderWriter};
use redis::Value;

/// Reads context from the fields of an entry that was read: `FieldExtractor(&entry.map)`.
///
/// ```
/// use std::collections::HashMap;
/// use otel_redis::streams::FieldExtractor;
/// use redis::Value;
///
/// let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// let fields = HashMap::from([("traceparent".to_owned(), Value::BulkString(parent.into()))]);
/// let context = otel_propagation::extract(&FieldExtractor(&fields));
/// # let _ = context;
/// ```
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a view that anybody may make")]
pub struct FieldExtractor<'a>(pub &'a HashMap<String, Value>);

impl HeaderReader for FieldExtractor<'_> {
    fn visit<'a>(&'a self, mut visitor: impl FnMut(&'a str, &'a [u8])) {
        for (name, value) in self.0 {
            match value {
                Value::BulkString(bytes) => visitor(name, bytes),
                Value::SimpleString(text) => visitor(name, text.as_bytes()),
                _ => {}
            }
        }
    }
}

/// Writes context into the fields of an entry before it is added: `FieldInjector(&mut fields)`, with the names and values in
/// turn.
///
/// Names are written in lower case. Setting or removing a field removes all fields of that name in any case.
///
/// ```
/// use opentelemetry::Context;
/// use otel_redis::streams::FieldInjector;
///
/// let mut fields = vec![b"order".to_vec(), b"4711".to_vec()];
/// otel_propagation::inject(&Context::current(), &mut FieldInjector(&mut fields));
/// ```
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "a view that anybody may make")]
pub struct FieldInjector<'a>(pub &'a mut Vec<Vec<u8>>);

impl HeaderWriter for FieldInjector<'_> {
    fn set(&mut self, name: &str, value: &str) {
        set(self.0, name, value.as_bytes());
    }

    fn set_bytes(&mut self, name: &str, value: &[u8]) {
        set(self.0, name, value);
    }

    fn remove(&mut self, name: &str) {
        remove(self.0, name);
    }

    fn contains(&self, name: &str) -> bool {
        contains(self.0, name)
    }
}

/// The fields of a message that is about to be sent: names and values in turn.
#[derive(Debug)]
pub(crate) struct OutboundFields(pub(crate) Vec<Vec<u8>>);

impl HeaderReader for OutboundFields {
    fn visit<'a>(&'a self, mut visitor: impl FnMut(&'a str, &'a [u8])) {
        for pair in self.0.chunks_exact(2) {
            if let [name, value] = pair
                && let Ok(name) = std::str::from_utf8(name)
            {
                visitor(name, value);
            }
        }
    }
}

impl HeaderWriter for OutboundFields {
    fn set(&mut self, name: &str, value: &str) {
        set(&mut self.0, name, value.as_bytes());
    }

    fn set_bytes(&mut self, name: &str, value: &[u8]) {
        set(&mut self.0, name, value);
    }

    fn remove(&mut self, name: &str) {
        remove(&mut self.0, name);
    }

    fn contains(&self, name: &str) -> bool {
        contains(&self.0, name)
    }
}

fn set(fields: &mut Vec<Vec<u8>>, name: &str, value: &[u8]) {
    remove(fields, name);
    fields.push(name.to_ascii_lowercase().into_bytes());
    fields.push(value.to_vec());
}

fn remove(fields: &mut Vec<Vec<u8>>, name: &str) {
    if !contains(fields, name) {
        return;
    }
    let mut kept = Vec::with_capacity(fields.len());
    for pair in fields.chunks_mut(2) {
        if !is_named(pair, name) {
            kept.extend(pair.iter_mut().map(std::mem::take));
        }
    }
    *fields = kept;
}

fn contains(fields: &[Vec<u8>], name: &str) -> bool {
    fields.chunks(2).any(|pair| is_named(pair, name))
}

fn is_named(pair: &[Vec<u8>], name: &str) -> bool {
    matches!(pair, [other, _] if other.eq_ignore_ascii_case(name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(list: &[(&str, &str)]) -> Vec<Vec<u8>> {
        list.iter().flat_map(|(name, value)| [name.as_bytes().to_vec(), value.as_bytes().to_vec()]).collect()
    }

    fn read(fields: Vec<Vec<u8>>) -> Vec<(String, String)> {
        let fields = OutboundFields(fields);
        let mut list = Vec::new();
        fields.visit(|name, value| list.push((name.to_owned(), String::from_utf8_lossy(value).into_owned())));
        list
    }

    #[test]
    fn a_field_replaces_all_of_its_name() {
        let mut list = fields(&[("TraceParent", "a"), ("id", "7"), ("traceparent", "b")]);
        FieldInjector(&mut list).set("traceparent", "c");
        assert_eq!(list, fields(&[("id", "7"), ("traceparent", "c")]));
        FieldInjector(&mut list).set_bytes("X-B3-TraceId", b"\xff");
        assert_eq!(list[4..], [b"x-b3-traceid".to_vec(), b"\xff".to_vec()]);
        FieldInjector(&mut list).remove("TRACEPARENT");
        assert!(!FieldInjector(&mut list).contains("traceparent"));
        assert_eq!(list.len(), 4);
    }

    #[test]
    fn a_value_with_the_name_of_a_field_is_no_field() {
        let mut list = fields(&[("key", "traceparent")]);
        assert!(!FieldInjector(&mut list).contains("traceparent"));
        FieldInjector(&mut list).remove("traceparent");
        assert_eq!(list, fields(&[("key", "traceparent")]));
    }

    #[test]
    fn names_that_are_no_text_and_a_name_without_a_value_are_left_out() {
        let mut list = fields(&[("id", "7")]);
        list.extend([b"\xff".to_vec(), b"x".to_vec(), b"alone".to_vec()]);
        assert_eq!(read(list.clone()), [("id".to_owned(), "7".to_owned())]);
        FieldInjector(&mut list).remove("id");
        assert_eq!(list, [b"\xff".to_vec(), b"x".to_vec(), b"alone".to_vec()]);
    }

    #[test]
    fn values_of_other_types_are_left_out() {
        let map = HashMap::from([
            ("a".to_owned(), Value::BulkString(b"1".to_vec())),
            ("b".to_owned(), Value::Int(2)),
            ("c".to_owned(), Value::SimpleString("3".to_owned())),
        ]);
        let mut list = Vec::new();
        FieldExtractor(&map).visit(|name, value| list.push((name.to_owned(), value.to_vec())));
        list.sort();
        assert_eq!(list, [("a".to_owned(), b"1".to_vec()), ("c".to_owned(), b"3".to_vec())]);
    }
}
