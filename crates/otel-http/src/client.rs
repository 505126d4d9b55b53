//! The client layer: injects context into requests and records each call once.
//!
//! Follows the [HTTP semantic conventions](https://opentelemetry.io/docs/specs/semconv/http/http-spans/), "HTTP
//! client", and the tower service contract.

mod instrumentation;
mod state;

use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use http::{Request, Response};
use http_body::Body;
use otel_request::{RequestFuture, start_client};
use tower_layer::Layer;
use tower_service::Service;

pub use self::instrumentation::{HttpClient, UrlTemplate};
pub use self::state::{ClientBody, ClientFuture, ClientState};

use crate::layer::HttpLayer;

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

impl<S> Layer<S> for ClientLayer {
    type Service = ClientService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ClientService { inner, instrumentation: Arc::clone(&self.instrumentation) }
    }
}

/// An instrumented HTTP client.
#[derive(Clone, Debug)]
pub struct ClientService<S> {
    inner: S,
    instrumentation: Arc<HttpClient>,
}

impl<S, B, R> Service<Request<B>> for ClientService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: 'static,
    R: Body,
    R::Error: 'static,
{
    type Response = Response<ClientBody<R>>;
    type Error = S::Error;
    type Future = ClientFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let mut scope = start_client(&self.instrumentation, &mut request);
        let entered = scope.enter();
        let future = self.inner.call(request);
        entered.exit();
        RequestFuture::new(future, scope)
    }
}
