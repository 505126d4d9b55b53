//! gRPC metadata as a carrier of context.
//!
//! Follows the [Propagators API](https://opentelemetry.io/docs/specs/otel/context/api-propagators/#carrier),
//! "Carrier", and [gRPC over HTTP/2](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md),
//! "Custom-Metadata" (keys are case-insensitive and may be repeated).

use http::{HeaderMap, HeaderName, HeaderValue};
use otel_propagation::{HeaderInjector, HeaderReader, HeaderWriter};
use tonic::metadata::MetadataMap;

/// Extracts context from metadata, for code that calls a propagator itself.
///
/// ```
/// let request = tonic::Request::new(());
/// let context = otel_propagation::extract(&otel_grpc::MetadataExtractor(request.metadata()));
/// # let _ = context;
/// ```
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a view that anybody may make")]
pub struct MetadataExtractor<'a>(pub &'a MetadataMap);

impl HeaderReader for MetadataExtractor<'_> {
    fn visit<'a>(&'a self, mut visitor: impl FnMut(&'a str, &'a [u8])) {
        let headers: &HeaderMap = self.0.as_ref();
        for (name, value) in headers {
            visitor(name.as_str(), value.as_bytes());
        }
    }
}

/// The number of headers up to which a search compares all names.
const FEW: usize = 8;

/// Returns the first value of a header. Among few headers comparing all names is cheaper than hashing one.
#[inline]
pub(crate) fn find<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    if headers.keys_len() > FEW {
        return headers.get(name);
    }
    headers.iter().find(|(other, _)| *other == name).map(|(_, value)| value)
}

/// Injects context into metadata. Fields that are not valid metadata are skipped.
///
/// ```
/// let mut request = tonic::Request::new(());
/// let mut carrier = otel_grpc::MetadataInjector(request.metadata_mut());
/// otel_propagation::inject(&opentelemetry::Context::current(), &mut carrier);
/// ```
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "a view that anybody may make")]
pub struct MetadataInjector<'a>(pub &'a mut MetadataMap);

impl HeaderWriter for MetadataInjector<'_> {
    fn set(&mut self, name: &str, value: &str) {
        HeaderInjector(self.0.as_mut()).set(name, value);
    }

    fn set_bytes(&mut self, name: &str, value: &[u8]) {
        HeaderInjector(self.0.as_mut()).set_bytes(name, value);
    }

    fn remove(&mut self, name: &str) {
        HeaderInjector(self.0.as_mut()).remove(name);
    }

    fn contains(&self, name: &str) -> bool {
        let headers: &HeaderMap = self.0.as_ref();
        headers.contains_key(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_is_found_among_few_and_many_headers() {
        let name = HeaderName::from_static("grpc-status");
        for others in [0, 1, FEW - 1, FEW, 2 * FEW] {
            let mut headers = HeaderMap::new();
            for number in 0..others {
                headers
                    .insert(HeaderName::try_from(format!("x-{number}")).unwrap(), HeaderValue::from(number));
            }
            assert_eq!(find(&headers, &name), None);
            headers.append(&name, HeaderValue::from_static("5"));
            headers.append(&name, HeaderValue::from_static("0"));
            assert_eq!(find(&headers, &name), Some(&HeaderValue::from_static("5")), "{others}");
        }
    }
}
