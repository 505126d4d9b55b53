//! The client layer: injects context into requests and records each call once.
//!
//! Follows the [HTTP semantic conventions](https://opentelemetry.io/docs/specs/semconv/http/http-spans/), "HTTP
//! client".

mod instrumentation;
mod state;

pub use self::instrumentation::{HttpClient, UrlTemplate};
pub use self::state::{ClientBody, ClientFuture, ClientState};

use crate::layer::HttpLayer;
use crate::service::HttpService;

/// A layer that records each call of an HTTP client and injects its context into the request.
///
/// The parent is the `opentelemetry::Context` in the request's extensions, or the current context if the extensions
/// have none. The extension is for layers such as tower's `Buffer`, which make the call on another task.
///
/// ```
/// use tower_layer::Layer;
/// # #[derive(Clone)] struct MyClient;
/// let client = otel_http::ClientLayer::new().layer(MyClient);
/// ```
pub type ClientLayer = HttpLayer<HttpClient>;

impl ClientLayer {
    /// States that the connections use TLS, or that they do not. It is the scheme of requests whose URI names none, such as
    /// those of [hyper's connections](https://docs.rs/hyper/latest/hyper/client/conn/): of `url.full` and of the default
    /// `server.port`. Default: unknown; `url.full` begins with `http`, and only a port that the request names is recorded.
    #[must_use]
    pub fn with_tls(self, tls: bool) -> Self {
        self.edit(|_, client| client.tls = Some(tls))
    }

    /// Limits the series per metric that hosts can make, because a host may come from untrusted input. Default: 1,000. Once
    /// there are as many, the calls of further hosts are recorded under the `server.address` `_OTHER`; hosts that have series
    /// keep them and may add more, for another status or error, and one for each [`UrlTemplate`](crate::UrlTemplate) of their calls.
    #[must_use]
    pub fn with_max_untrusted_series(self, most: u32) -> Self {
        self.edit(|_, client| client.max_untrusted_series = most)
    }
}

/// An instrumented HTTP client.
pub type ClientService<S> = HttpService<S, HttpClient>;
