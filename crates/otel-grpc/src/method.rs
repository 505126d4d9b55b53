//! The cached state of methods, and the detection of methods that a server has.
//!
//! Follows the [RPC semantic conventions](https://opentelemetry.io/docs/specs/semconv/rpc/rpc-spans/), `rpc.method`:
//! the full name, or `_OTHER` for methods that the service does not have, whose names are untrusted input.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use http::{Response, header};
use opentelemetry::KeyValue;
use otel_operation::{AttributedHistogram, BoundedCache, SmallOnceMap, intern};
use tonic::{Code, Status};

use crate::attributes::{GRPC, METHOD, OTHER, SYSTEM};

/// Limit of cached methods of a client, or of a server with a list. Further methods are recorded as unknown.
const MOST: usize = 1024;

/// Limit of methods that a server without a list learns. Further methods remain unknown.
const MOST_LEARNED: usize = 256;

/// Limit in bytes of the path of a method that is learned.
const LONGEST: usize = 256;

/// The cached names, attributes and metrics of a method.
#[derive(Debug)]
pub(crate) struct Method {
    /// The value of `rpc.method`.
    pub(crate) name: Cow<'static, str>,
    pub(crate) span_name: Cow<'static, str>,
    /// The attributes of both spans and metrics: the system, the method and, on a client, the server.
    pub(crate) common: Vec<KeyValue>,
    /// The key is the status code, or `u8::MAX` for a panic.
    pub(crate) durations: SmallOnceMap<u8, AttributedHistogram<f64>, 18>,
    pub(crate) sizes: SmallOnceMap<u8, [AttributedHistogram<u64>; 4], 18>,
}

impl Method {
    fn new(name: &str, server: &[KeyValue]) -> Self {
        let name = intern(name);
        // The conventions use the system as the span name of unknown methods.
        let span_name = if name == OTHER { Cow::Borrowed(GRPC) } else { name.clone() };
        let mut common = vec![KeyValue::new(SYSTEM, GRPC), KeyValue::new(METHOD, name.clone())];
        common.extend_from_slice(server);
        Self { name, span_name, common, durations: SmallOnceMap::new(), sizes: SmallOnceMap::new() }
    }

    /// Returns false for the entry that all unknown methods share.
    pub(crate) fn is_known(&self) -> bool {
        self.name != OTHER
    }

    /// Returns the attributes of the system and the method, without those of the server.
    pub(crate) fn names(&self) -> &[KeyValue] {
        self.common.get(..2).unwrap_or_default()
    }
}

/// The result of looking up the method of a request.
#[derive(Debug)]
pub(crate) enum MethodLookup {
    Known(Arc<Method>),
    /// The service does not have the method.
    Unknown,
    /// The response will show if the service has the method.
    Unconfirmed,
}

/// The methods of one server.
#[derive(Debug)]
pub struct Methods {
    /// `server.address` and `server.port`, which are metric attributes of clients; empty on servers.
    server: Vec<KeyValue>,
    known: BoundedCache<Method>,
    unknown: Arc<Method>,
}

impl Methods {
    pub(crate) fn new(server: Vec<KeyValue>, learns: bool) -> Self {
        Self {
            known: BoundedCache::new(if learns { MOST_LEARNED } else { MOST }),
            unknown: Arc::new(Method::new(OTHER, &server)),
            server,
        }
    }

    /// Returns the entry that all unknown methods share.
    pub(crate) fn unknown(&self) -> Arc<Method> {
        Arc::clone(&self.unknown)
    }

    /// Returns the method of a path if it is cached, or if `is_known` returns `true` for its name and the cache has
    /// room.
    pub(crate) fn get(&self, path: &str, is_known: impl FnOnce(&str) -> bool) -> Option<Arc<Method>> {
        let method = || {
            let name = path.strip_prefix('/')?;
            is_known(name).then(|| Method::new(name, &self.server))
        };
        self.known.get_or_insert_opt(path, method)
    }

    /// Looks up the method of a path on a server that has a list of methods, or that learns them.
    pub(crate) fn look_up(&self, path: &str, list: Option<&HashSet<Box<str>>>) -> MethodLookup {
        match self.get(path, |name| list.is_some_and(|list| list.contains(name))) {
            Some(method) => MethodLookup::Known(method),
            None if list.is_some() || !is_method_path(path) => MethodLookup::Unknown,
            None => MethodLookup::Unconfirmed,
        }
    }

    /// Caches a method that the service has, as its response showed.
    pub(crate) fn learn(&self, path: &str) -> Arc<Method> {
        self.get(path, |_| true).unwrap_or_else(|| self.unknown())
    }
}

/// Returns `true` for a path of the form `/package.Service/Method`.
fn is_method_path(path: &str) -> bool {
    let name = |part: &str| {
        let of_a_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.');
        !part.is_empty() && part.bytes().all(of_a_name)
    };
    let parts = path.strip_prefix('/').and_then(|path| path.split_once('/'));
    path.len() <= LONGEST && parts.is_some_and(|(service, method)| name(service) && name(method))
}

/// Returns `true` if a response of gRPC shows that the server has the method.
///
/// The UNIMPLEMENTED of tonic for an unknown method has no [`Status`] in its extensions, and that of its router for
/// an unknown service has a `Content-Length`. Layers that authenticate respond before the method is looked up.
pub(crate) fn confirms_method<B>(response: &Response<B>, status: Option<Code>) -> bool {
    match status {
        Some(Code::Unauthenticated | Code::PermissionDenied) => false,
        Some(Code::Unimplemented) => {
            response.extensions().get::<Status>().is_some()
                && !response.headers().contains_key(header::CONTENT_LENGTH)
        }
        Some(_) => true,
        None => response.status().is_success(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_names_no_method_is_never_learned() {
        assert!(is_method_path("/chat.v1.Chat/Join"));
        assert!(is_method_path("/Chat/join_all"));
        for path in
            ["", "/", "/Chat", "/Chat/", "//Join", "/Chat/Join/x", "Chat/Join", "/Chat/Jöin", "/Chat/J%20"]
        {
            assert!(!is_method_path(path), "{path}");
        }
        assert!(!is_method_path(&format!("/Chat/{}", "x".repeat(LONGEST))));
    }

    #[test]
    fn a_list_is_closed_and_learning_has_a_bound() {
        let list = HashSet::from([Box::from("a.B/C")]);
        let methods = Methods::new(Vec::new(), false);
        assert!(
            matches!(methods.look_up("/a.B/C", Some(&list)), MethodLookup::Known(method) if method.name == "a.B/C")
        );
        assert!(matches!(methods.look_up("/a.B/D", Some(&list)), MethodLookup::Unknown));

        let methods = Methods::new(Vec::new(), true);
        assert!(matches!(methods.look_up("/a.B/C", None), MethodLookup::Unconfirmed));
        for number in 0..2 * MOST_LEARNED {
            methods.learn(&format!("/a.B/M{number}"));
        }
        assert!(matches!(methods.look_up("/a.B/M0", None), MethodLookup::Known(_)));
        assert_eq!(methods.learn("/a.B/Last").name, OTHER);
    }
}
