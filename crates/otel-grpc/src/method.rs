//! The cached state of methods, and the detection of methods that a server has.
//!
//! A server without a list learns a method from the first message of a reply, which neither an interceptor nor a fallback
//! sends: interceptors reject calls with a status alone, fallbacks respond with a status or a page.
//!
//! Follows the [RPC semantic conventions](https://opentelemetry.io/docs/specs/semconv/rpc/rpc-spans/), `rpc.method`:
//! the full name, or `_OTHER` for methods that the service does not have, whose names are untrusted input.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use http::StatusCode;
use opentelemetry::KeyValue;
use otel_operation::{AttributedHistogram, AttributedUpDownCounter, BoundedCache, SmallOnceMap, intern};
use otel_request::SeriesLimit;

use crate::attributes::{GRPC, METHOD, OTHER, SYSTEM};
use crate::content_type::ContentType;
use crate::metrics::Key;

/// Limit of cached methods per server of a client. Further methods are recorded as unknown.
const MOST: usize = 1024;

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
    pub(crate) durations: SmallOnceMap<Key, AttributedHistogram<f64>, 18>,
    pub(crate) sizes: SmallOnceMap<Key, [AttributedHistogram<u64>; 4], 18>,
    pub(crate) active_calls: OnceLock<AttributedUpDownCounter>,
    pub(crate) open_streams: OnceLock<AttributedUpDownCounter>,
    /// The limit to which its series add, if an untrusted value is among the attributes.
    limit: Option<Arc<SeriesLimit>>,
}

impl Method {
    fn new(name: &str, server: &[KeyValue], limit: Option<Arc<SeriesLimit>>) -> Self {
        let name = intern(name);
        // The conventions use the system as the span name of unknown methods.
        let span_name = if name == OTHER { Cow::Borrowed(GRPC) } else { name.clone() };
        let mut common = vec![KeyValue::new(SYSTEM, GRPC), KeyValue::new(METHOD, name.clone())];
        common.extend_from_slice(server);
        Self {
            name,
            span_name,
            common,
            durations: SmallOnceMap::new(),
            sizes: SmallOnceMap::new(),
            active_calls: OnceLock::new(),
            open_streams: OnceLock::new(),
            limit,
        }
    }

    /// Counts a new series.
    pub(crate) fn count_series(&self) {
        if let Some(limit) = &self.limit {
            limit.add();
        }
    }

    /// Returns false for the entry that all unknown methods share.
    pub(crate) fn is_known(&self) -> bool {
        self.name != OTHER
    }

    /// Returns true if the attributes have those of a client's server.
    pub(crate) fn has_server(&self) -> bool {
        self.common.len() > 2
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
    limit: Option<Arc<SeriesLimit>>,
}

impl Methods {
    /// Creates the methods of a client's target.
    pub(crate) fn of_target(server: Vec<KeyValue>) -> Self {
        Self::new(server, MOST, None)
    }

    /// Creates the methods of a server that a client's requests name. Their series add to the limit.
    pub(crate) fn of_origin(server: Vec<KeyValue>, limit: Arc<SeriesLimit>) -> Self {
        Self::new(server, MOST, Some(limit))
    }

    /// Creates the methods of a server that has a list, or that learns methods until they have `max_series` series.
    pub(crate) fn of_server(list: Option<&HashSet<Box<str>>>, max_series: u32) -> Self {
        match list {
            // Only names of the list are cached, so that the bound never applies.
            Some(list) => Self::new(Vec::new(), list.len(), None),
            None => {
                let most = usize::try_from(max_series).unwrap_or(usize::MAX);
                let limit = Some(Arc::new(SeriesLimit::new(max_series)));
                // The calls of unknown methods make a few series, however many methods are called.
                Self {
                    unknown: Arc::new(Method::new(OTHER, &[], None)),
                    ..Self::new(Vec::new(), most, limit)
                }
            }
        }
    }

    fn new(server: Vec<KeyValue>, most: usize, limit: Option<Arc<SeriesLimit>>) -> Self {
        let unknown = Arc::new(Method::new(OTHER, &server, limit.clone()));
        Self { server, known: BoundedCache::new(most), unknown, limit }
    }

    /// Returns the entry that all unknown methods share.
    pub(crate) fn unknown(&self) -> Arc<Method> {
        Arc::clone(&self.unknown)
    }

    /// Returns the method of a path if it is cached, or if `is_known` returns `true` for its name and the cache has
    /// room.
    pub(crate) fn get(&self, path: &str, is_known: impl FnOnce(&str) -> bool) -> Option<Arc<Method>> {
        let name = || path.strip_prefix('/').filter(|name| is_known(name));
        let make = || name().map(|name| Method::new(name, &self.server, self.limit.clone()));
        self.known.get_or_insert_opt(path, make).map(Arc::clone)
    }

    /// Looks up the method of a path on a server that has a list of methods, or that learns them.
    pub(crate) fn look_up(&self, path: &str, list: Option<&HashSet<Box<str>>>) -> MethodLookup {
        match self.get(path, |name| list.is_some_and(|list| list.contains(name))) {
            Some(method) => MethodLookup::Known(method),
            None if list.is_some() || !is_method_path(path) => MethodLookup::Unknown,
            None => MethodLookup::Unconfirmed,
        }
    }

    /// Caches a method that the server has, as its response showed, if the limit of series has room for another method.
    pub(crate) fn learn(&self, path: &str) -> Arc<Method> {
        let has_room = || self.limit.as_ref().is_none_or(|limit| limit.has_room());
        self.get(path, |_| has_room()).unwrap_or_else(|| self.unknown())
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

/// Returns `true` if a message in the body of a response with this head confirms the method. Fallbacks send another HTTP
/// status or content type; interceptors send a code in the head, with which a call ends.
pub(crate) fn can_confirm(status: StatusCode, content_type: ContentType) -> bool {
    status == StatusCode::OK && content_type != ContentType::Other
}

/// Returns `true` if the data at the start of a response's body begins a message. Its flags are 0 or 1; trailers of
/// gRPC-Web have another bit, and `A` is the Base64 of both.
pub(crate) fn begins_message(content_type: ContentType, data: &[u8]) -> bool {
    match content_type {
        ContentType::Grpc | ContentType::Web => data.first().is_some_and(|flags| *flags <= 1),
        ContentType::WebText => data.first() == Some(&b'A'),
        ContentType::Other => false,
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
        let methods = Methods::of_server(Some(&list), 0);
        assert!(
            matches!(methods.look_up("/a.B/C", Some(&list)), MethodLookup::Known(method) if method.name == "a.B/C")
        );
        assert!(matches!(methods.look_up("/a.B/D", Some(&list)), MethodLookup::Unknown));

        let methods = Methods::of_server(None, 10);
        assert!(matches!(methods.look_up("/a.B/C", None), MethodLookup::Unconfirmed));
        for number in 0..20 {
            methods.learn(&format!("/a.B/M{number}"));
        }
        assert!(matches!(methods.look_up("/a.B/M0", None), MethodLookup::Known(_)));
        assert_eq!(methods.learn("/a.B/Last").name, OTHER);
    }
}
