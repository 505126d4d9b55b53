//! The server's part of the instrumentation: its options, routes and hosts.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{Request, Uri};
use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;
use otel_operation::BoundedCache;
use otel_request::{
    AttributeScope, HostCache, NameRank, PeerAddr, RequestHead, RequestScope, ServerInstrumentation,
    SpanName, start_server,
};

use super::route::{LateRoute, Route, Routes};
use super::state::ServerState;
use crate::attributes::{self, server as request_attributes};
use crate::config::EndOn;
use crate::forwarded::{self, Forwarded, TrustedProxies};
use crate::instrumentation::{HttpInstrumentation, Shared, Side};
use crate::method::KnownMethod;
use crate::metrics::{HttpInstruments, Key};
use crate::sizes::RequestSize;

/// Default limit of cached routes. Span names and attribute sets of further routes are created per request.
const ROUTES: usize = 1024;

/// Limit of `Host` values that are cached in parsed form.
const HOSTS: usize = 64;

/// Limit of user agents that are cached, of up to 512 bytes each.
const AGENTS: usize = 64;

/// The options that only a server has.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    pub(super) trusted_proxies: Option<TrustedProxies>,
    pub(super) tls: bool,
    pub(super) late_route: bool,
    pub(super) max_cached_routes: usize,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self { trusted_proxies: None, tls: false, late_route: false, max_cached_routes: ROUTES }
    }
}

/// The server's side of a layer. Opaque; public only because it appears in type signatures.
#[derive(Debug)]
pub struct HttpServer {
    no_route: Arc<Route>,
    options: ServerOptions,
    routes: Arc<Routes>,
    hosts: HostCache,
    agents: BoundedCache<Arc<str>>,
}

impl Side for HttpServer {
    type Options = ServerOptions;
    type Observer = ServerState;

    const END_ON: EndOn = EndOn::Auto;

    fn new(options: ServerOptions, shared: &Arc<Shared>) -> Self {
        let routes = Arc::new(Routes::new(options.max_cached_routes, shared));
        Self {
            no_route: Arc::new(Route::unknown(&routes)),
            routes,
            hosts: HostCache::new(HOSTS),
            agents: BoundedCache::new(AGENTS),
            options,
        }
    }

    fn options(&self) -> &ServerOptions {
        &self.options
    }

    fn instruments(meter: &Meter) -> HttpInstruments {
        HttpInstruments::server(meter)
    }

    fn set_request_size(state: &mut ServerState, size: RequestSize) {
        if let Some(sizes) = &mut state.sizes {
            sizes.set_request(size);
        }
    }

    #[inline]
    fn start<B>(
        instrumentation: &Arc<HttpInstrumentation<Self>>,
        request: &mut Request<B>,
    ) -> RequestScope<ServerState> {
        if instrumentation.side.options.late_route {
            // Shared by stacked layers, so that each of them sees the route.
            request.extensions_mut().get_or_insert_default::<LateRoute>();
        }
        start_server(instrumentation, request)
    }
}

/// The parts of a request's head that only attributes need.
#[derive(Debug)]
pub struct Details {
    method: KnownMethod,
    forwarded: Option<Forwarded>,
}

impl ServerInstrumentation for HttpInstrumentation<HttpServer> {
    type Details = Details;

    #[inline(always)]
    fn observe(self: &Arc<Self>, head: &RequestHead<'_>) -> (ServerState, Details, SpanName) {
        let options = &self.side.options;
        let http = &self.shared.http;
        let method = http.known_methods.look_up(head.method);
        // Without trusted proxies only a recording span needs the peer.
        let forwarded = options
            .trusted_proxies
            .as_ref()
            .and_then(|trusted| forwarded::read(head.headers, peer(head).map(|peer| peer.ip()), trusted));
        let https = request_attributes::is_https(head.uri, forwarded.as_ref(), options.tls);
        let route = match matched_path(head) {
            Some(path) => self.side.routes.get(path),
            None => Arc::clone(&self.side.no_route),
        };
        let chosen = http.chosen_name(head, route.route.as_deref());
        let is_named = chosen.is_some();
        let name = match chosen {
            Some(name) => SpanName::new(name, NameRank::Hook),
            None if route.route.is_some() => SpanName::new(route.name(&method), NameRank::Route),
            None => SpanName::new(route.name(&method), NameRank::Method),
        };
        let key = Key {
            method: method.index,
            https,
            version: Some(attributes::ProtocolVersion::from_version(head.version)),
            status: None,
        };
        let late_route = if options.late_route { head.extensions.get::<LateRoute>().cloned() } else { None };
        let state = ServerState::new(route, key, head, late_route, is_named);
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
        let mut head = *head;
        head.uri = original_uri(&head);
        let received = request_attributes::RequestParts {
            method,
            https: state.key.https,
            route: state.route.route.as_ref(),
            peer: if scope == AttributeScope::All { peer(&head) } else { None },
            forwarded: forwarded.as_ref(),
            hosts: &self.side.hosts,
            agents: &self.side.agents,
        };
        request_attributes::attributes(&head, &received, scope, list);
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

/// Returns the URI of the request: nested routers of axum remove their prefix from the URI that a layer inside sees.
fn original_uri<'a>(head: &RequestHead<'a>) -> &'a Uri {
    #[cfg(feature = "axum")]
    if let Some(axum::extract::OriginalUri(uri)) = head.extensions.get() {
        return uri;
    }
    head.uri
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
