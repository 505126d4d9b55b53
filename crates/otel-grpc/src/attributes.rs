//! Attribute names and the attributes of calls.
//!
//! Follows the [RPC and gRPC semantic conventions](https://opentelemetry.io/docs/specs/semconv/rpc/grpc/) 1.44
//! (Release Candidate). The names are local constants, because the crate `opentelemetry-semantic-conventions` is at
//! schema 1.42 and the names still change.

use std::net::SocketAddr;
use std::sync::Arc;

use http::Uri;
use opentelemetry::KeyValue;
use otel_request::{format_ip, split_host};

/// Schema URL of the instrumentation scope.
pub(crate) const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.44.0";

pub(crate) const METHOD: &str = "rpc.method";
pub(crate) const METHOD_ORIGINAL: &str = "rpc.method_original";
pub(crate) const PEER_ADDRESS: &str = "network.peer.address";
pub(crate) const PEER_PORT: &str = "network.peer.port";
/// Prefix of the attributes of captured request metadata, followed by a dot and the key.
pub(crate) const REQUEST_METADATA: &str = "rpc.request.metadata";
/// Prefix of the attributes of captured response metadata, followed by a dot and the key.
pub(crate) const RESPONSE_METADATA: &str = "rpc.response.metadata";
pub(crate) const SERVER_ADDRESS: &str = "server.address";
pub(crate) const SERVER_PORT: &str = "server.port";
/// Renamed to `rpc.status_code` in the conventions after 1.44.
pub(crate) const STATUS_CODE: &str = "rpc.response.status_code";
pub(crate) const SYSTEM: &str = "rpc.system.name";

/// The number of earlier attempts, by analogy with `http.request.resend_count`. Not in the conventions.
pub(crate) const RESEND_COUNT: &str = "rpc.request.resend_count";
/// The numbers of messages that a call received and sent. Not in the conventions.
pub(crate) const MESSAGES_RECEIVED: &str = "rpc.messages.received";
pub(crate) const MESSAGES_SENT: &str = "rpc.messages.sent";

/// The event of a message and its attributes, from the conventions before 1.38. Later versions have no replacement.
pub(crate) const MESSAGE: &str = "rpc.message";
pub(crate) const MESSAGE_COMPRESSED_SIZE: &str = "rpc.message.compressed_size";
pub(crate) const MESSAGE_ID: &str = "rpc.message.id";
pub(crate) const MESSAGE_SIZE: &str = "rpc.message.uncompressed_size";
pub(crate) const MESSAGE_TYPE: &str = "rpc.message.type";

pub(crate) const GRPC: &str = "grpc";
pub(crate) const OTHER: &str = "_OTHER";

/// Length in bytes at which an unknown method is truncated.
const LONGEST_METHOD: usize = 256;

/// Returns a path without the part that [`method_original`] truncates.
pub(crate) fn truncated_path(path: &str) -> &str {
    path.get(..path.len().min(LONGEST_METHOD + 1)).unwrap_or_default()
}

/// Returns the original name of a method that the service does not have, truncated.
pub(crate) fn method_original(path: &str) -> KeyValue {
    let name = path.strip_prefix('/').unwrap_or(path);
    // `get` avoids a panic within a character, which valid paths do not have: they are percent-encoded ASCII.
    let name = name.get(..name.len().min(LONGEST_METHOD)).unwrap_or_default();
    KeyValue::new(METHOD_ORIGINAL, name.to_owned())
}

/// Appends `server.address` and `server.port`.
pub(crate) fn server(address: &Arc<str>, port: Option<u16>, attributes: &mut Vec<KeyValue>) {
    attributes.push(KeyValue::new(SERVER_ADDRESS, Arc::clone(address)));
    attributes.extend(port.map(|port| KeyValue::new(SERVER_PORT, i64::from(port))));
}

/// Returns `server.address` and `server.port` of a client's target. Default port: that of the URI's scheme.
pub(crate) fn target(uri: &Uri) -> Vec<KeyValue> {
    let Some((address, port)) = uri.authority().and_then(|authority| split_host(authority.as_str())) else {
        return Vec::new();
    };
    let port = port.or(match uri.scheme_str() {
        Some("https") => Some(443),
        Some("http") => Some(80),
        _ => None,
    });
    let mut attributes = vec![KeyValue::new(SERVER_ADDRESS, Arc::<str>::from(address))];
    attributes.extend(port.map(|port| KeyValue::new(SERVER_PORT, i64::from(port))));
    attributes
}

pub(crate) fn peer(peer: SocketAddr, attributes: &mut Vec<KeyValue>) {
    attributes.push(KeyValue::new(PEER_ADDRESS, format_ip(peer.ip())));
    attributes.push(KeyValue::new(PEER_PORT, i64::from(peer.port())));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(attributes: &[KeyValue]) -> String {
        let each = attributes.iter().map(|kv| format!("{}={}", kv.key, kv.value));
        each.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_target_has_a_port_and_no_credentials() {
        for (uri, expected) in [
            ("http://orders.internal:50051", "server.address=orders.internal server.port=50051"),
            ("https://user:secret@orders.internal", "server.address=orders.internal server.port=443"),
            ("http://[::1]/", "server.address=::1 server.port=80"),
            ("/chat.Chat/Join", ""),
            ("unix://orders", "server.address=orders"),
            (&*format!("http://{}/", "a".repeat(300)), ""),
        ] {
            assert_eq!(text(&target(&uri.parse().unwrap())), expected, "{uri}");
        }
    }

    #[test]
    fn unknown_methods_are_kept_bounded() {
        assert_eq!(truncated_path("/a.B/C"), "/a.B/C");
        assert_eq!(
            method_original(truncated_path(&format!("/{}", "x".repeat(999)))).value.as_str().len(),
            256
        );
        assert_eq!(method_original("/a.B/C").value.as_str(), "a.B/C");
        assert_eq!(method_original(&"x".repeat(10_000)).value.as_str().len(), 256);
        assert_eq!(method_original(&"é".repeat(200)).value.as_str(), "é".repeat(128));
        assert_eq!(method_original(&format!("x{}", "é".repeat(200))).value.as_str(), "");
    }
}
