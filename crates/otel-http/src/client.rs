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

/// An instrumented HTTP client.
pub type ClientService<S> = HttpService<S, HttpClient>;
