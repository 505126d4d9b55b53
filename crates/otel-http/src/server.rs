//! The server layer: extracts the caller's context and records each request once.
//!
//! Follows the [HTTP semantic conventions](https://opentelemetry.io/docs/specs/semconv/http/http-spans/), "HTTP
//! server", and the tower service contract: the service that was polled ready is the one that is called.

mod instrumentation;
mod route;
mod state;

use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use http::{Request, Response};
use http_body::Body;
use ipnet::IpNet;
use otel_request::{RequestFuture, RequestHead, start_server};
use tower_layer::Layer;
use tower_service::Service;

pub use self::instrumentation::HttpServer;
pub use self::route::LateRoute;
pub use self::state::{ServerBody, ServerFuture, ServerState};

use crate::layer::HttpLayer;

/// A layer that records each request of an HTTP server.
///
/// ```
/// use tower_layer::Layer;
/// # #[derive(Clone)] struct MyService;
/// let service = otel_http::ServerLayer::new().layer(MyService);
/// ```
pub type ServerLayer = HttpLayer<HttpServer>;

impl ServerLayer {
    /// Treats callers as untrusted: their span context becomes a link instead of the parent, and their baggage is
    /// dropped. Default: `false`.
    #[must_use]
    pub fn with_public_endpoint(self, public: bool) -> Self {
        self.edit(|http, _| http.common.set_public_endpoint(public))
    }

    /// Treats the callers of those requests as untrusted for which `is_public` returns `true`. See
    /// [`with_public_endpoint`](Self::with_public_endpoint).
    #[must_use]
    pub fn with_public_endpoint_if<F>(self, is_public: F) -> Self
    where
        F: Fn(&RequestHead<'_>) -> bool + Send + Sync + 'static,
    {
        self.edit(|http, _| http.common.set_public_endpoint_if(is_public))
    }

    /// Reads `Forwarded` and `X-Forwarded-*` of requests from these networks. Default: none. This requires the peer's
    /// address: a [`PeerAddr`](crate::PeerAddr), or axum's `ConnectInfo<SocketAddr>` with the feature `axum`.
    #[must_use]
    pub fn with_trusted_proxies(self, networks: impl IntoIterator<Item = IpNet>) -> Self {
        let networks = networks.into_iter().collect();
        self.edit(|_, server| server.trusted_proxies = networks)
    }

    /// Sets `url.scheme` to `https` for requests without a scheme, as all of HTTP/1.1 in origin form are. Default:
    /// `false`.
    #[must_use]
    pub fn with_tls(self, tls: bool) -> Self {
        self.edit(|_, server| server.tls = tls)
    }

    /// Inserts a [`LateRoute`] into each request, for routers other than axum's. Default: `false`.
    #[must_use]
    pub fn with_late_route(self, late_route: bool) -> Self {
        self.edit(|_, server| server.late_route = late_route)
    }
}

impl<S> Layer<S> for ServerLayer {
    type Service = ServerService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ServerService { inner, instrumentation: Arc::clone(&self.instrumentation) }
    }
}

/// An instrumented HTTP server.
#[derive(Clone, Debug)]
pub struct ServerService<S> {
    inner: S,
    instrumentation: Arc<HttpServer>,
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
        self.instrumentation.insert_late_route(&mut request);
        let mut scope = start_server(&self.instrumentation, &mut request);
        let entered = scope.enter();
        let future = self.inner.call(request);
        entered.exit();
        RequestFuture::new(future, scope)
    }
}
