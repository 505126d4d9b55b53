//! The server layer: extracts the caller's context and records each request once.
//!
//! Follows the [HTTP semantic conventions](https://opentelemetry.io/docs/specs/semconv/http/http-spans/), "HTTP
//! server", and the tower service contract: the service that was polled ready is the one that is called.

mod record;

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::task::{Context as TaskContext, Poll};

use http::{Request, Response};
use http_body::Body;
use ipnet::IpNet;
use opentelemetry::trace::{Link, SpanKind, TraceContextExt};
use opentelemetry::{Context, KeyValue};
use otel_operation::{
    BoundedCache, LazyInstruments, Operation, OperationFuture, SmallOnceMap, SpanStart, StartTime, Tracer,
};
use otel_request::{HostCache, PeerAddr};
use tower_layer::Layer;
use tower_service::Service;

pub use self::record::{ServerBody, ServerFuture, ServerRecord};

use crate::attributes::{self, ROUTE, server as request_attributes};
use crate::carrier::HeaderExtractor;
use crate::config::{EndOn, Options, RequestHead, scope, shared_options};
use crate::forwarded;
use crate::method::KnownMethod;
use crate::metrics::{HttpInstruments, Key, Series};

/// Limit of cached routes. Span names and attribute sets of further routes are created per request.
const ROUTES: usize = 1024;

/// Limit of `Host` values that are cached in parsed form.
const HOSTS: usize = 64;

type Public = Arc<dyn Fn(&RequestHead<'_>) -> bool + Send + Sync>;

#[derive(Clone, Debug)]
struct ServerOptions {
    shared: Options,
    trusted_proxies: Arc<[IpNet]>,
    public: Endpoint,
    tls: bool,
    route_slot: bool,
}

#[derive(Clone)]
enum Endpoint {
    Internal,
    Public(Public),
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Internal => "Internal",
            Self::Public(_) => "Public",
        })
    }
}

/// The state shared by all services of a layer.
#[derive(Debug)]
struct Shared {
    options: ServerOptions,
    tracer: Tracer,
    instruments: LazyInstruments<HttpInstruments>,
    routes: BoundedCache<Route>,
    no_route: Arc<Route>,
    hosts: HostCache,
}

/// The cached span names and metrics of a route.
#[derive(Debug)]
struct Route {
    route: Option<Arc<str>>,
    names: SmallOnceMap<u8, Cow<'static, str>, 16>,
    series: Series,
}

impl Route {
    fn new(route: Option<&str>) -> Self {
        let route: Option<Arc<str>> = route.map(Into::into);
        let common = route.iter().map(|route| KeyValue::new(ROUTE, Arc::clone(route))).collect();
        Self { route, names: SmallOnceMap::new(), series: Series::new(common, true) }
    }

    fn name(&self, method: &KnownMethod) -> Cow<'static, str> {
        self.names.get_or_init_with(
            method.index,
            || attributes::span_name(method, self.route.as_deref()),
            Cow::clone,
        )
    }
}

/// A request extension through which a router inside the layer, other than axum's, reports the route.
///
/// [`ServerLayer::with_route_slot`] inserts one into each request. The first route that is set becomes `http.route`
/// of the span and of the metrics, and part of the span's name.
///
/// ```
/// # let mut request = http::Request::new(());
/// # request.extensions_mut().insert(otel_http::RouteSlot::default());
/// if let Some(slot) = request.extensions().get::<otel_http::RouteSlot>() {
///     slot.set("/users/{id}");
/// }
/// ```
#[derive(Clone, Debug, Default)]
pub struct RouteSlot(Arc<OnceLock<Box<str>>>);

impl RouteSlot {
    /// Sets the route: its template, never a path. Only the first call has an effect.
    pub fn set(&self, route: impl Into<Box<str>>) {
        let _ = self.0.set(route.into());
    }
}

/// A layer that records each request of an HTTP server.
///
/// ```
/// use tower_layer::Layer;
/// # #[derive(Clone)] struct MyService;
/// let service = otel_http::ServerLayer::new().layer(MyService);
/// ```
#[derive(Clone, Debug)]
pub struct ServerLayer {
    shared: Arc<Shared>,
}

impl ServerLayer {
    /// Creates a layer that records into the global providers, which may be installed later.
    #[must_use]
    pub fn new() -> Self {
        Self::from_options(ServerOptions {
            shared: Options::new(EndOn::Auto),
            trusted_proxies: Arc::from([]),
            public: Endpoint::Internal,
            tls: false,
            route_slot: false,
        })
    }

    fn from_options(options: ServerOptions) -> Self {
        Self {
            shared: Arc::new(Shared {
                tracer: options.shared.providers.tracer(scope()),
                instruments: options.shared.providers.instruments(scope(), HttpInstruments::server),
                routes: BoundedCache::new(ROUTES),
                no_route: Arc::new(Route::new(None)),
                hosts: HostCache::new(HOSTS),
                options,
            }),
        }
    }

    fn edit_all(self, edit: impl FnOnce(&mut ServerOptions)) -> Self {
        let mut options = self.shared.options.clone();
        edit(&mut options);
        Self::from_options(options)
    }

    fn edit(self, edit: impl FnOnce(&mut Options)) -> Self {
        self.edit_all(|options| edit(&mut options.shared))
    }

    shared_options!();

    /// Treats callers as untrusted: their span context becomes a link instead of the parent, and their baggage is
    /// dropped. Default: `false`.
    #[must_use]
    pub fn with_public_endpoint(self, public: bool) -> Self {
        self.edit_all(|options| {
            options.public = if public { Endpoint::Public(Arc::new(|_| true)) } else { Endpoint::Internal };
        })
    }

    /// Treats the callers of those requests as untrusted for which `is_public` returns `true`. See
    /// [`with_public_endpoint`](Self::with_public_endpoint).
    #[must_use]
    pub fn with_public_endpoint_if<F>(self, is_public: F) -> Self
    where
        F: Fn(&RequestHead<'_>) -> bool + Send + Sync + 'static,
    {
        self.edit_all(|options| options.public = Endpoint::Public(Arc::new(is_public)))
    }

    /// Reads `Forwarded` and `X-Forwarded-*` of requests from these networks. Default: none. This requires the peer's
    /// address: a [`PeerAddr`], or axum's `ConnectInfo<SocketAddr>` with the feature `axum`.
    #[must_use]
    pub fn with_trusted_proxies(self, networks: impl IntoIterator<Item = IpNet>) -> Self {
        let networks = networks.into_iter().collect();
        self.edit_all(|options| options.trusted_proxies = networks)
    }

    /// Sets `url.scheme` to `https` for requests without a scheme, as all of HTTP/1.1 in origin form are. Default:
    /// `false`.
    #[must_use]
    pub fn with_tls(self, tls: bool) -> Self {
        self.edit_all(|options| options.tls = tls)
    }

    /// Inserts a [`RouteSlot`] into each request, for routers other than axum's. Default: `false`.
    #[must_use]
    pub fn with_route_slot(self, slot: bool) -> Self {
        self.edit_all(|options| options.route_slot = slot)
    }
}

impl Default for ServerLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for ServerLayer {
    type Service = ServerService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ServerService { inner, shared: Arc::clone(&self.shared) }
    }
}

/// An instrumented HTTP server.
#[derive(Clone, Debug)]
pub struct ServerService<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S, B, R> Service<Request<B>> for ServerService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: 'static,
    R: Body,
    R::Error: 'static,
{
    type Response = Response<ServerBody<R>>;
    type Error = S::Error;
    type Future = ServerFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let Some(mut operation) = Shared::start(&self.shared, &mut request) else {
            return OperationFuture::new(self.inner.call(request), None);
        };
        let future = operation.inside(|_| self.inner.call(request));
        OperationFuture::new(future, Some(operation))
    }
}

impl Shared {
    fn route(&self, path: &str) -> Arc<Route> {
        let route = || Route::new(Some(path));
        self.routes.get_or_insert(path, route).unwrap_or_else(|| Arc::new(route()))
    }

    fn start<B>(shared: &Arc<Self>, request: &mut Request<B>) -> Option<Operation<ServerRecord>> {
        let options = &shared.options;
        if !options.shared.records(&RequestHead::of(request)) {
            return None;
        }
        let started = StartTime::now();
        let slot = options.route_slot.then(|| {
            let slot = RouteSlot::default();
            request.extensions_mut().insert(slot.clone());
            slot
        });
        let head = RequestHead::of(request);
        let method = options.shared.known_methods.of(head.method);
        // Without trusted proxies, which is the default, the peer is looked up only for a span's attributes.
        let forwarded = if options.trusted_proxies.is_empty() {
            None
        } else {
            forwarded::read(head.headers, peer(&head).map(|peer| peer.ip()), &options.trusted_proxies)
        };
        let https = request_attributes::is_https(head.uri, forwarded.as_ref(), options.tls);
        let route = match matched_path(&head) {
            Some(path) => shared.route(path),
            None => Arc::clone(&shared.no_route),
        };

        let (propagation, carrier) = (&options.shared.propagation, HeaderExtractor(head.headers));
        let (parent, link) = match &options.public {
            Endpoint::Public(is_public) if is_public(&head) => {
                let caller = propagation.extract_without_baggage(&carrier).span().span_context().clone();
                (Context::new(), caller.is_valid().then(|| Link::with_context(caller)))
            }
            _ => (propagation.extract(&carrier), None),
        };

        let name = options.shared.span_name.as_ref().and_then(|name| name(&head, route.route.as_deref()));
        let named = name.is_some();
        let name = name.unwrap_or_else(|| route.name(&method));
        let mut start = SpanStart::new(name, SpanKind::Server, started.time)
            .with_sampler_attributes(options.shared.sampler_attributes);
        if let Some(link) = link {
            start = start.with_link(link);
        }
        let key = Key {
            method: method.index,
            https,
            version: Some(attributes::ProtocolVersion::of(head.version)),
            status: None,
        };
        let record = ServerRecord::new(Arc::clone(shared), Arc::clone(&route), key, &head, slot, named);
        let attributes = || {
            let mut list = Vec::with_capacity(16);
            let received = request_attributes::Received {
                method: &method,
                https,
                route: route.route.as_ref(),
                peer: peer(&head),
                forwarded,
                hosts: &shared.hosts,
            };
            request_attributes::attributes(&head, &received, &mut list);
            options.shared.request_headers.read(head.headers, &mut list);
            if let Some(hook) = &options.shared.on_request {
                hook(&head, &mut list);
            }
            list
        };
        Some(Operation::start(&shared.tracer, start, &parent, started, record, attributes))
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
