//! The instrumentation that all services of a server layer share.

use std::net::SocketAddr;
use std::sync::Arc;

use http::Request;
use ipnet::IpNet;
use opentelemetry::KeyValue;
use otel_operation::{BoundedCache, LazyInstruments, Tracer};
use otel_request::{
    AttributeScope, HostCache, NameRank, Options, PeerAddr, RequestHead, ServerInstrumentation, SpanName,
};

use super::route::{LateRoute, Route};
use super::state::ServerState;
use crate::attributes::{self, server as request_attributes};
use crate::config::{EndOn, HttpHead, HttpOptions, scope};
use crate::forwarded::{self, Forwarded};
use crate::layer::Side;
use crate::method::KnownMethod;
use crate::metrics::{HttpInstruments, Key};

/// Limit of cached routes. Span names and attribute sets of further routes are created per request.
const ROUTES: usize = 1024;

/// Limit of `Host` values that are cached in parsed form.
const HOSTS: usize = 64;

/// The options that only a server has.
#[derive(Clone, Debug, Default)]
pub struct ServerOptions {
    pub(super) trusted_proxies: Arc<[IpNet]>,
    pub(super) tls: bool,
    pub(super) late_route: bool,
}

/// The instrumentation of an HTTP server. Opaque; public only because it appears in type signatures.
#[derive(Debug)]
pub struct HttpServer {
    pub(super) http: HttpOptions,
    pub(super) instruments: LazyInstruments<HttpInstruments>,
    pub(super) no_route: Arc<Route>,
    options: ServerOptions,
    tracer: Tracer,
    routes: BoundedCache<Route>,
    hosts: HostCache,
}

impl Side for HttpServer {
    type Options = ServerOptions;

    const END_ON: EndOn = EndOn::Auto;

    fn build(http: HttpOptions, options: ServerOptions) -> Self {
        Self {
            tracer: http.common.providers.tracer(scope()),
            instruments: http.common.providers.instruments(scope(), HttpInstruments::server),
            routes: BoundedCache::new(ROUTES),
            no_route: Arc::new(Route::new(None)),
            hosts: HostCache::new(HOSTS),
            http,
            options,
        }
    }

    fn options(&self) -> (&HttpOptions, &ServerOptions) {
        (&self.http, &self.options)
    }
}

impl HttpServer {
    pub(super) fn route(&self, path: &str) -> Arc<Route> {
        let route = || Route::new(Some(path));
        self.routes.get_or_insert(path, route).unwrap_or_else(|| Arc::new(route()))
    }

    #[inline]
    pub(super) fn insert_late_route<B>(&self, request: &mut Request<B>) {
        if self.options.late_route {
            // Shared by stacked layers, so that each of them sees the route.
            request.extensions_mut().get_or_insert_default::<LateRoute>();
        }
    }
}

/// The parts of a request's head that only attributes need.
#[derive(Debug)]
pub struct Details {
    method: KnownMethod,
    forwarded: Option<Forwarded>,
}

impl ServerInstrumentation for HttpServer {
    type View = HttpHead;
    type Observer = ServerState;
    type Details = Details;

    #[inline]
    fn tracer(&self) -> &Tracer {
        &self.tracer
    }

    #[inline]
    fn options(&self) -> &Options<HttpHead> {
        &self.http.common
    }

    #[inline(always)]
    fn observe(self: &Arc<Self>, head: &RequestHead<'_>) -> (ServerState, Details, SpanName) {
        let options = &self.options;
        let method = self.http.known_methods.of(head.method);
        // Without trusted proxies only a recording span needs the peer.
        let forwarded = if options.trusted_proxies.is_empty() {
            None
        } else {
            forwarded::read(head.headers, peer(head).map(|peer| peer.ip()), &options.trusted_proxies)
        };
        let https = request_attributes::is_https(head.uri, forwarded.as_ref(), options.tls);
        let route = match matched_path(head) {
            Some(path) => self.route(path),
            None => Arc::clone(&self.no_route),
        };
        let chosen = self.http.chosen_name(head, route.route.as_deref());
        let is_named = chosen.is_some();
        let name = match chosen {
            Some(name) => SpanName::new(name, NameRank::Hook),
            None if route.route.is_some() => SpanName::new(route.name(&method), NameRank::Route),
            None => SpanName::new(route.name(&method), NameRank::Method),
        };
        let key = Key {
            method: method.index,
            https,
            version: Some(attributes::ProtocolVersion::of(head.version)),
            status: None,
        };
        let late_route = if options.late_route { head.extensions.get::<LateRoute>().cloned() } else { None };
        let state = ServerState::new(Arc::clone(self), route, key, head, late_route, is_named);
        (state, Details { method, forwarded }, name)
    }

    #[inline]
    fn route(&self, state: &ServerState) -> Option<&'static str> {
        state.route.interned
    }

    #[inline(always)]
    fn attributes(
        &self,
        state: &ServerState,
        Details { method, forwarded }: &Details,
        head: &RequestHead<'_>,
        scope: AttributeScope,
        list: &mut Vec<KeyValue>,
    ) {
        let received = request_attributes::Received {
            method,
            https: state.key.https,
            route: state.route.route.as_ref(),
            peer: if scope == AttributeScope::All { peer(head) } else { None },
            forwarded: forwarded.as_ref(),
            hosts: &self.hosts,
        };
        request_attributes::attributes(head, &received, scope, list);
    }
}

fn peer(head: &RequestHead<'_>) -> Option<SocketAddr> {
    if let Some(PeerAddr(address)) = head.extensions.get() {
        return Some(*address);
    }
    #[cfg(feature = "axum")]
    if let Some(axum::extract::ConnectInfo(address)) =
        head.extensions.get::<axum::extract::ConnectInfo<SocketAddr>>()
    {
        return Some(*address);
    }
    None
}

fn matched_path<'a>(head: &RequestHead<'a>) -> Option<&'a str> {
    #[cfg(feature = "axum")]
    return head.extensions.get::<axum::extract::MatchedPath>().map(axum::extract::MatchedPath::as_str);
    #[cfg(not(feature = "axum"))]
    {
        let _ = head;
        None
    }
}
