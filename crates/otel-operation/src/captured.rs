//! Headers that are recorded by name, out of an allow-list: of HTTP, and of gRPC's metadata, which is the same.
//!
//! Follows the [semantic conventions for `http.request.header.<key>` and
//! `rpc.request.metadata.<key>`](https://opentelemetry.io/docs/specs/semconv/registry/attributes/http/): opt-in by
//! name, the values as an array of strings.

use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use opentelemetry::{Array, Key, KeyValue, StringValue, Value};

/// A captured header's value is cut at this many bytes, and this many values of one header are kept.
const BYTES: usize = 1024;
const VALUES: usize = 16;

/// The headers of an allow-list, with the names of their attributes.
#[derive(Clone, Debug, Default)]
pub struct CapturedHeaders(Arc<[(HeaderName, Key)]>);

impl CapturedHeaders {
    /// `prefix` is the attribute's name up to the header's. A name that no header can have captures nothing.
    #[must_use]
    pub fn new<'a>(prefix: &str, names: impl IntoIterator<Item = &'a str>) -> Self {
        let header = |name: &str| HeaderName::from_bytes(name.as_bytes()).ok();
        let with_key = |name: HeaderName| {
            let key = Key::from(format!("{prefix}.{name}"));
            (name, key)
        };
        Self(names.into_iter().filter_map(header).map(with_key).collect())
    }

    /// Appends what the message has of them: at most 16 values a header, each cut at 1,024 bytes, and none that is
    /// not visible ASCII.
    pub fn read(&self, headers: &HeaderMap, attributes: &mut Vec<KeyValue>) {
        for (name, key) in self.0.iter() {
            let values: Vec<StringValue> = headers
                .get_all(name)
                .iter()
                .filter_map(|value| value.to_str().ok())
                .take(VALUES)
                // Visible ASCII alone is text here, so that any byte is the end of a character.
                .map(|value| value[..value.len().min(BYTES)].to_owned().into())
                .collect();
            if !values.is_empty() {
                attributes.push(KeyValue::new(key.clone(), Value::Array(Array::String(values))));
            }
        }
    }
}
