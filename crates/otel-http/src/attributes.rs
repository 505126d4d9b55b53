//! Attribute names, span names and attribute values that the server and the client share.
//!
//! Follows the [HTTP semantic conventions](https://opentelemetry.io/docs/specs/semconv/http/http-spans/) 1.44 (spans,
//! Stable). The names are local constants, because the crate `opentelemetry-semantic-conventions` is at schema 1.42.

pub(crate) mod client;
pub(crate) mod server;
pub(crate) mod url;

use std::borrow::Cow;

use http::Version;
use opentelemetry::KeyValue;

use crate::method::KnownMethod;

/// Schema URL of the instrumentation scope.
pub(crate) const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.44.0";

pub(crate) const CLIENT_ADDRESS: &str = "client.address";
pub(crate) const CLIENT_PORT: &str = "client.port";
pub(crate) const METHOD: &str = "http.request.method";
pub(crate) const METHOD_ORIGINAL: &str = "http.request.method_original";
pub(crate) const PEER_ADDRESS: &str = "network.peer.address";
pub(crate) const PEER_PORT: &str = "network.peer.port";
pub(crate) const PROTOCOL_VERSION: &str = "network.protocol.version";
/// Prefix of the attributes of captured request headers, followed by a dot and the header's name.
pub(crate) const REQUEST_HEADER: &str = "http.request.header";
pub(crate) const RESEND_COUNT: &str = "http.request.resend_count";
/// Prefix of the attributes of captured response headers, followed by a dot and the header's name.
pub(crate) const RESPONSE_HEADER: &str = "http.response.header";
pub(crate) const ROUTE: &str = "http.route";
pub(crate) const SERVER_ADDRESS: &str = "server.address";
pub(crate) const SERVER_PORT: &str = "server.port";
pub(crate) const STATUS_CODE: &str = "http.response.status_code";
pub(crate) const URL_FULL: &str = "url.full";
pub(crate) const URL_PATH: &str = "url.path";
pub(crate) const URL_QUERY: &str = "url.query";
pub(crate) const URL_SCHEME: &str = "url.scheme";
pub(crate) const URL_TEMPLATE: &str = "url.template";
pub(crate) const USER_AGENT: &str = "user_agent.original";

/// Length in bytes at which an unknown method is truncated.
const LONGEST_METHOD: usize = 64;

/// Returns `{method} {route}` or `{method} {template}`, or only the method without a route. Never the path.
pub(crate) fn span_name(method: &KnownMethod, route: Option<&str>) -> Cow<'static, str> {
    let method = method.in_span_name();
    match route {
        Some(route) => otel_operation::intern(&format!("{method} {route}")),
        None => method,
    }
}

/// An HTTP version, for `network.protocol.version`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ProtocolVersion {
    Http09,
    Http10,
    Http11,
    Http2,
    Http3,
}

impl ProtocolVersion {
    pub(crate) fn from_version(version: Version) -> Self {
        match version {
            Version::HTTP_09 => Self::Http09,
            Version::HTTP_10 => Self::Http10,
            Version::HTTP_2 => Self::Http2,
            Version::HTTP_3 => Self::Http3,
            _ => Self::Http11,
        }
    }

    /// Returns the attribute's value: `2`, not `2.0`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http09 => "0.9",
            Self::Http10 => "1.0",
            Self::Http11 => "1.1",
            Self::Http2 => "2",
            Self::Http3 => "3",
        }
    }
}

/// Returns the value of `url.scheme`.
pub(crate) fn scheme(https: bool) -> &'static str {
    if https { "https" } else { "http" }
}

fn method(known: &KnownMethod, method: &http::Method, attributes: &mut Vec<KeyValue>) {
    attributes.push(KeyValue::new(METHOD, known.name.clone()));
    if known.index == crate::method::OTHER {
        let original = url::bounded(method.as_str(), LONGEST_METHOD).to_owned();
        attributes.push(KeyValue::new(METHOD_ORIGINAL, original));
    }
}
