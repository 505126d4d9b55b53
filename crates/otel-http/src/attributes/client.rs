//! Span attributes of client requests.
//!
//! Follows the [HTTP semantic conventions](https://opentelemetry.io/docs/specs/semconv/http/http-spans/), "HTTP
//! client".

use http::{HeaderMap, Uri, header};
use opentelemetry::KeyValue;
use otel_request::{RequestHead, split_host};

use super::url;
use crate::method::KnownMethod;

/// The scheme, host and port that a request is sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    pub(crate) https: bool,
    pub(crate) address: &'a str,
    pub(crate) port: u16,
}

/// Returns the target of a request from its URI, or from its `Host` header if the URI has no authority.
pub(crate) fn target<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<Target<'a>> {
    let https = uri.scheme_str() == Some("https");
    let (address, port) = match uri.authority() {
        Some(authority) => split_host(authority.as_str())?,
        None => split_host(headers.get(header::HOST)?.to_str().ok()?)?,
    };
    Some(Target { https, address, port: port.unwrap_or(if https { 443 } else { 80 }) })
}

/// Appends the attributes that a client span starts with. `target` is the address and port, which are cached per
/// host.
pub(crate) fn attributes(
    head: &RequestHead<'_>,
    method: &KnownMethod,
    target: Option<&[KeyValue; 2]>,
    template: Option<&str>,
    resend_count: u32,
    attributes: &mut Vec<KeyValue>,
) {
    super::method(method, head.method, attributes);
    if let Some(target) = target {
        attributes.extend(target.iter().cloned());
    }
    attributes.push(KeyValue::new(super::URL_FULL, url::full(head.uri, "http")));
    if let Some(template) = template {
        attributes.push(KeyValue::new(super::URL_TEMPLATE, template.to_owned()));
    }
    if resend_count > 0 {
        attributes.push(KeyValue::new(super::RESEND_COUNT, i64::from(resend_count)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    #[test]
    fn the_target_comes_from_the_uri_or_the_host_header() {
        let uri = |request: &Request<()>| {
            target(request.uri(), request.headers())
                .map(|t| format!("{}://{}:{}", crate::attributes::scheme(t.https), t.address, t.port))
        };
        for (request, wanted) in [
            (Request::get("https://user:pw@api.example/x"), Some("https://api.example:443")),
            (Request::get("http://[::1]:9/x"), Some("http://::1:9")),
            (Request::get("/x").header("host", "api.example:81"), Some("http://api.example:81")),
            (Request::get("/x"), None),
        ] {
            assert_eq!(uri(&request.body(()).unwrap()).as_deref(), wanted);
        }
    }
}
