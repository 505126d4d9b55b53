//! Methods: what is prepared once for each, and which a server knows.
//!
//! Follows the [RPC semantic conventions](https://opentelemetry.io/docs/specs/semconv/rpc/rpc-spans/), `rpc.method`
//! (full name; `_OTHER` for methods that the service does not know, whose names strangers choose).

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use http::{Response, header};
use opentelemetry::KeyValue;
use otel_operation::{AttributedHistogram, BoundedCache, SmallOnceMap, intern};
use tonic::{Code, Status};

use crate::attributes::{GRPC, METHOD, OTHER, SYSTEM};

/// More methods than a client calls or a server lists.
const MOST: usize = 1024;

/// More methods than a server has that was not told which: from there on unknown ones stay unknown.
const MOST_LEARNED: usize = 256;

/// The longest name of a method that is learned, in bytes.
const LONGEST: usize = 256;

/// What is prepared once for a method.
#[derive(Debug)]
pub(crate) struct Method {
    /// `rpc.method`.
    pub(crate) name: Cow<'static, str>,
    pub(crate) span_name: Cow<'static, str>,
    /// What spans and metrics have alike: the system, the method, on a client the server.
    pub(crate) common: Vec<KeyValue>,
    /// By status, or by a number past them all for a panic.
    pub(crate) durations: SmallOnceMap<u8, AttributedHistogram<f64>, 18>,
    pub(crate) sizes: SmallOnceMap<u8, [AttributedHistogram<u64>; 4], 18>,
}

impl Method {
    fn new(name: &str, server: &[KeyValue]) -> Self {
        let name = intern(name);
        // `_OTHER` names nothing; the conventions' name is the system then.
        let span_name = if name == OTHER { Cow::Borrowed(GRPC) } else { name.clone() };
        let mut common = vec![KeyValue::new(SYSTEM, GRPC), KeyValue::new(METHOD, name.clone())];
        common.extend_from_slice(server);
        Self { name, span_name, common, durations: SmallOnceMap::new(), sizes: SmallOnceMap::new() }
    }
}

/// A method as a request names it.
#[derive(Debug)]
pub(crate) enum Named {
    Known(Arc<Method>),
    /// The service does not know it.
    Unknown,
    /// Whether the service knows it is seen by its answer.
    Unsettled,
}

/// The methods of one server.
#[derive(Debug)]
pub(crate) struct Methods {
    /// `server.address` and `server.port` where the metrics have them.
    pub(crate) server: Vec<KeyValue>,
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

    /// What stands for all methods that are not known.
    pub(crate) fn unknown(&self) -> Arc<Method> {
        Arc::clone(&self.unknown)
    }

    /// The method that a path names, if `is_known` says of its name that there is one.
    pub(crate) fn named(&self, path: &str, is_known: impl FnOnce(&str) -> bool) -> Option<Arc<Method>> {
        let method = || {
            let name = path.strip_prefix('/')?;
            is_known(name).then(|| Method::new(name, &self.server))
        };
        self.known.get_or_insert_opt(path, method)
    }

    /// The method that a path names, of a server that knows these, or that learns them.
    pub(crate) fn served(&self, path: &str, list: Option<&HashSet<Box<str>>>) -> Named {
        match self.named(path, |name| list.is_some_and(|list| list.contains(name))) {
            Some(method) => Named::Known(method),
            None if list.is_some() || !could_be(path) => Named::Unknown,
            None => Named::Unsettled,
        }
    }

    /// Keeps a method that the service has turned out to know.
    pub(crate) fn learn(&self, path: &str) -> Arc<Method> {
        self.named(path, |_| true).unwrap_or_else(|| self.unknown())
    }
}

/// Whether a path has the form of a method's: `/package.Service/Method`.
fn could_be(path: &str) -> bool {
    let name = |part: &str| {
        let of_a_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.');
        !part.is_empty() && part.bytes().all(of_a_name)
    };
    let parts = path.strip_prefix('/').and_then(|path| path.split_once('/'));
    path.len() <= LONGEST && parts.is_some_and(|(service, method)| name(service) && name(method))
}

/// Whether the answer of a server shows that it knows the method. Tonic answers an unknown method with a bare status, and
/// for an unknown service its router adds that there is nothing more. What keeps strangers out answers before anybody
/// has looked for the method.
pub(crate) fn is_known_by<B>(response: &Response<B>, status: Option<Code>) -> bool {
    match status {
        Some(Code::Unauthenticated | Code::PermissionDenied) => false,
        Some(Code::Unimplemented) => {
            response.extensions().get::<Status>().is_some()
                && !response.headers().contains_key(header::CONTENT_LENGTH)
        }
        Some(_) => true,
        // Another router than tonic's may answer with HTTP alone.
        None => response.status().is_success(),
    }
}

#[cfg(feature = "prost-types")]
pub(crate) fn of_descriptors(encoded: &[u8]) -> Result<Vec<String>, prost::DecodeError> {
    let set: prost_types::FileDescriptorSet = prost::Message::decode(encoded)?;
    let mut names = Vec::new();
    for file in &set.file {
        let package = match file.package() {
            "" => String::new(),
            package => format!("{package}."),
        };
        for service in &file.service {
            names.extend(
                service.method.iter().map(|method| format!("{package}{}/{}", service.name(), method.name())),
            );
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_names_no_method_is_never_learned() {
        assert!(could_be("/chat.v1.Chat/Join"));
        assert!(could_be("/Chat/join_all"));
        for path in
            ["", "/", "/Chat", "/Chat/", "//Join", "/Chat/Join/x", "Chat/Join", "/Chat/Jöin", "/Chat/J%20"]
        {
            assert!(!could_be(path), "{path}");
        }
        assert!(!could_be(&format!("/Chat/{}", "x".repeat(LONGEST))));
    }

    #[test]
    fn a_list_is_closed_and_learning_has_a_bound() {
        let list = HashSet::from([Box::from("a.B/C")]);
        let methods = Methods::new(Vec::new(), false);
        assert!(
            matches!(methods.served("/a.B/C", Some(&list)), Named::Known(method) if method.name == "a.B/C")
        );
        assert!(matches!(methods.served("/a.B/D", Some(&list)), Named::Unknown));

        let methods = Methods::new(Vec::new(), true);
        assert!(matches!(methods.served("/a.B/C", None), Named::Unsettled));
        for number in 0..2 * MOST_LEARNED {
            methods.learn(&format!("/a.B/M{number}"));
        }
        assert!(matches!(methods.served("/a.B/M0", None), Named::Known(_)));
        assert_eq!(methods.learn("/a.B/Last").name, OTHER);
    }
}
