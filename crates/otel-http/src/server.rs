//! The server layer: extracts the caller's context and records each request once.
//!
//! Follows the [HTTP semantic conventions](https://opentelemetry.io/docs/specs/semconv/http/http-spans/), "HTTP
//! server".

mod instrumentation;
mod route;
mod state;

use ipnet::IpNet;

pub use self::instrumentation::HttpServer;
pub use self::route::LateRoute;
pub use self::state::{ServerBody, ServerFuture, ServerState};

use crate::forwarded::{ForwardingHeaders, TrustedProxies};
use crate::layer::HttpLayer;
use crate::service::HttpService;

/// A layer that records each request of an HTTP server.
///
/// ```
/// use tower_layer::Layer;
/// # #[derive(Clone)] struct MyService;
/// let service = otel_http::ServerLayer::new().layer(MyService);
/// ```
pub type ServerLayer = HttpLayer<HttpServer>;

impl ServerLayer {
    /// Reads `headers` of requests from these networks, for `client.address`, `server.address` and `url.scheme`. Default:
    /// none. Name the headers that all of these proxies write themselves: one that they pass on is their caller's. This
    /// requires the peer's address: a [`PeerAddr`](crate::PeerAddr), or axum's `ConnectInfo<SocketAddr>` with the feature
    /// `axum`.
    #[must_use]
    pub fn with_trusted_proxies(
        self,
        headers: ForwardingHeaders,
        networks: impl IntoIterator<Item = IpNet>,
    ) -> Self {
        let proxies = TrustedProxies { headers, networks: networks.into_iter().collect() };
        self.edit(|_, server| server.trusted_proxies = Some(proxies))
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

    /// Sets the number of routes whose names and series are cached. Default: 1,024. Requests to further routes are recorded in
    /// the same way, but cost more, because their names and series are created for each; with the feature `tracing` the first one
    /// is logged as a warning. Cached routes stay.
    #[must_use]
    pub fn with_max_cached_routes(self, routes: usize) -> Self {
        self.edit(|_, server| server.max_cached_routes = routes)
    }
}

/// An instrumented HTTP server.
pub type ServerService<S> = HttpService<S, HttpServer>;
