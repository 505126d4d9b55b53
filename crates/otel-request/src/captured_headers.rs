//! Capture of allow-listed headers as attributes, for HTTP headers and gRPC metadata.
//!
//! Follows the [semantic conventions for `http.request.header.<key>` and
//! `rpc.request.metadata.<key>`](https://opentelemetry.io/docs/specs/semconv/registry/attributes/http/): opt-in by
//! name, values as an array of strings.

use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use opentelemetry::{Array, Key, KeyValue, StringValue, Value};

/// Length in bytes at which a captured value is truncated.
const BYTES: usize = 1024;
/// Limit of captured values per header.
const VALUES: usize = 16;

/// An allow-list of headers, with the attribute key of each.
#[derive(Clone, Debug, Default)]
pub struct CapturedHeaders(Arc<[(HeaderName, Key)]>);

impl CapturedHeaders {
    /// Creates an allow-list. An attribute key is `prefix`, a dot and the header's name; invalid header names are
    /// ignored.
    #[must_use]
    pub fn new<'a>(prefix: &str, names: impl IntoIterator<Item = &'a str>) -> Self {
        let header = |name: &str| HeaderName::from_bytes(name.as_bytes()).ok();
        let with_key = |name: HeaderName| {
            let key = Key::from(format!("{prefix}.{name}"));
            (name, key)
        };
        Self(names.into_iter().filter_map(header).map(with_key).collect())
    }

    /// Returns true if no header is captured.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Appends an attribute for each allow-listed header in `headers`, with at most 16 values, each truncated to
    /// 1,024 bytes. Values that are not visible ASCII are skipped.
    #[inline]
    pub fn read(&self, headers: &HeaderMap, attributes: &mut Vec<KeyValue>) {
        // Most layers capture none.
        if !self.is_empty() {
            self.append(headers, attributes);
        }
    }

    fn append(&self, headers: &HeaderMap, attributes: &mut Vec<KeyValue>) {
        for (name, key) in self.0.iter() {
            let values: Vec<StringValue> = headers
                .get_all(name)
                .iter()
                .filter_map(|value| value.to_str().ok())
                .take(VALUES)
                // Cannot split a character: `to_str` accepts only visible ASCII.
                .map(|value| value[..value.len().min(BYTES)].to_owned().into())
                .collect();
            if !values.is_empty() {
                attributes.push(KeyValue::new(key.clone(), Value::Array(Array::String(values))));
            }
        }
    }
}
