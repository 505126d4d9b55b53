//! Span attributes of client requests.
//!
//! Follows the [HTTP semantic conventions](https://opentelemetry.io/docs/specs/semconv/http/http-spans/), "HTTP
//! client".

use std::sync::Arc;

use http::{HeaderMap, Uri, header};
use opentelemetry::KeyValue;
use otel_request::{RequestHead, split_host};

use super::{SERVER_ADDRESS, SERVER_PORT, url};
use crate::method::KnownMethod;

/// The scheme, host and port that a request is sent to. The host is parsed on demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    /// The text that names the host and the port; it can have credentials.
    pub(crate) authority: &'a str,
    /// `None` for a request that does not name a scheme, over a connection that its caller made.
    pub(crate) https: Option<bool>,
}

impl<'a> Target<'a> {
    /// Returns the target of a request from its URI, or from its `Host` header if the URI has no authority. `tls` is the
    /// option that states the scheme where the URI has none.
    #[inline]
    pub(crate) fn new(uri: &'a Uri, headers: &'a HeaderMap, tls: Option<bool>) -> Option<Self> {
        let https = match uri.scheme_str() {
            Some("https") => Some(true),
            Some("http") => Some(false),
            Some(_) => None,
            None => tls,
        };
        let authority = match uri.authority() {
            Some(authority) => authority.as_str(),
            None => headers.get(header::HOST)?.to_str().ok()?,
        };
        Some(Self { authority, https })
    }

    /// Returns the host and the port: `None` for an authority that is none, and no port for a request that names neither a port
    /// nor a scheme.
    pub(crate) fn address(&self) -> Option<(&'a str, Option<u16>)> {
        let (address, port) = split_host(self.authority)?;
        Some((address, port.or_else(|| self.https.map(|https| if https { 443 } else { 80 }))))
    }

    /// Returns `server.address` and `server.port`, or nothing for an authority that is none.
    pub(crate) fn attributes(&self) -> Vec<KeyValue> {
        let Some((address, port)) = self.address() else { return Vec::new() };
        let mut attributes = vec![KeyValue::new(SERVER_ADDRESS, Arc::<str>::from(address))];
        attributes.extend(port.map(|port| KeyValue::new(SERVER_PORT, i64::from(port))));
        attributes
    }
}

/// Appends the attributes that a client span starts with. `server` is the address and port, which are cached per
/// host.
pub(crate) fn attributes(
    head: &RequestHead<'_>,
    method: &KnownMethod,
    (target, server): (Option<&Target<'_>>, &[KeyValue]),
    template: Option<&str>,
    resend_count: u32,
    attributes: &mut Vec<KeyValue>,
) {
    super::method(method, head.method, attributes);
    attributes.extend_from_slice(server);
    attributes.push(KeyValue::new(super::URL_FULL, url::full(head.uri, target)));
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
    fn the_target_comes_from_the_uri_or_the_host_header_and_no_port_is_invented() {
        let origin_form = |host: &str| Request::get("/x").header("host", host);
        for (request, tls, expected) in [
            (Request::get("https://user:pw@api.example/x"), None, Some(("api.example", Some(443)))),
            (Request::get("http://api.example/x"), Some(true), Some(("api.example", Some(80)))),
            (Request::get("http://[::1]:9/x"), None, Some(("::1", Some(9)))),
            (Request::get("gopher://api.example/x"), None, Some(("api.example", None))),
            (origin_form("api.example:81"), None, Some(("api.example", Some(81)))),
            (origin_form("api.example:81"), Some(true), Some(("api.example", Some(81)))),
            (origin_form("api.example"), None, Some(("api.example", None))),
            (origin_form("api.example"), Some(true), Some(("api.example", Some(443)))),
            (origin_form("api.example"), Some(false), Some(("api.example", Some(80)))),
            (Request::get("/x"), Some(true), None),
        ] {
            let request = request.body(()).unwrap();
            let target = Target::new(request.uri(), request.headers(), tls);
            assert_eq!(target.and_then(|target| target.address()), expected, "{request:?} {tls:?}");
        }
    }
}
