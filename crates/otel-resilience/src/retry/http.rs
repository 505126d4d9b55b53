//! The retry layer of HTTP and gRPC, on tower's retry.
//!
//! Follows [tower's retry](https://docs.rs/tower/latest/tower/retry/index.html) and the [HTTP semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/http/http-spans/), "HTTP request retries and redirects".

use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use http::{Request, Response};
use otel_operation::OperationFuture;
use otel_request::{ErrorView, RequestHead, ResponseHead};
use tower_layer::Layer;
use tower_service::Service;

use super::Retry;
use super::attempts::{AttemptService, RetryAttempts};
use super::logical::LogicalCall;
use super::progress::Progress;
use super::rules::Rules;
use crate::clone_request::{CloneBody, CloneRequest, RequestRule};
use crate::grpc;

/// A layer that retries calls. A client layer inside of it records each attempt as a span of its own.
///
/// ```
/// use otel_resilience::{Retry, RetryLayer};
/// use tower_layer::Layer;
/// # #[derive(Clone)] struct MyClient;
/// let client = otel_http::ClientLayer::new().layer(MyClient);
/// let client = RetryLayer::new(Retry::new("inventory").with_span(true)).layer(client);
/// ```
#[derive(Debug)]
pub struct RetryLayer<C = CloneBody> {
    pub(super) retry: Retry,
    pub(super) rules: Rules,
    pub(super) clone: Arc<C>,
}

impl RetryLayer {
    /// Creates a layer that retries idempotent requests after errors, and after the statuses 408, 425, 429, 502, 503 and 504.
    /// The body of requests has to be `Clone`; see [`with_clone_request`](Self::with_clone_request).
    #[must_use]
    pub fn new(retry: Retry) -> Self {
        Self { retry, rules: Rules::default(), clone: Arc::new(CloneBody) }
    }
}

impl RetryLayer {
    /// Creates a layer that retries calls of gRPC after errors, and after the status UNAVAILABLE in the headers of a response. A server
    /// that has not begun to send messages responds in that way; a status in trailers, after the response's head, is not seen.
    ///
    /// All methods are retried, because UNAVAILABLE states that the server has not processed the call; an error can come later. Set
    /// [`with_errors`](Self::with_errors) for methods that are not idempotent. Messages are repeated by
    /// [`ReplayLayer`](crate::ReplayLayer).
    #[must_use]
    pub fn grpc(retry: Retry) -> Self {
        let is_unavailable =
            |head: &ResponseHead<'_>| grpc::code_from_headers(head.headers) == Some(grpc::UNAVAILABLE);
        Self::new(retry).with_requests(|_| true).with_responses(is_unavailable)
    }
}

impl<C> RetryLayer<C> {
    /// Sets the way in which a request is cloned before it is sent. Default: [`CloneBody`].
    #[must_use]
    pub fn with_clone_request<D>(self, clone: D) -> RetryLayer<D> {
        RetryLayer { retry: self.retry, rules: self.rules, clone: Arc::new(clone) }
    }

    /// Retries requests for which `may_repeat` returns true, in place of those with an idempotent method.
    #[must_use]
    pub fn with_requests<F>(mut self, may_repeat: F) -> Self
    where
        F: Fn(&RequestHead<'_>) -> bool + Send + Sync + 'static,
    {
        self.rules.requests = RequestRule::new(may_repeat);
        self
    }

    /// Retries after responses for which `is_failure` returns true, in place of the default statuses.
    #[must_use]
    pub fn with_responses<F>(mut self, is_failure: F) -> Self
    where
        F: Fn(&ResponseHead<'_>) -> bool + Send + Sync + 'static,
    {
        self.rules.responses = Some(Arc::new(is_failure));
        self
    }

    /// Retries after errors for which `is_failure` returns true, in place of all but refusals of this crate's layers.
    #[must_use]
    pub fn with_errors<F>(mut self, is_failure: F) -> Self
    where
        F: Fn(&ErrorView<'_>) -> bool + Send + Sync + 'static,
    {
        self.rules.errors = Some(Arc::new(is_failure));
        self
    }
}

// Not derived: a derive would demand `C: Clone`.
impl<C> Clone for RetryLayer<C> {
    fn clone(&self) -> Self {
        Self { retry: self.retry.clone(), rules: self.rules.clone(), clone: Arc::clone(&self.clone) }
    }
}

impl<S, C> Layer<S> for RetryLayer<C> {
    type Service = RetryService<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        RetryService { inner, shared: Arc::new(self.clone()) }
    }
}

/// A service whose calls are retried.
#[derive(Debug)]
pub struct RetryService<S, C = CloneBody> {
    inner: S,
    shared: Arc<RetryLayer<C>>,
}

impl<S: Clone, C> Clone for RetryService<S, C> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), shared: Arc::clone(&self.shared) }
    }
}

/// The future of a [`RetryService`].
pub type RetryFuture<S, C, B> = OperationFuture<
    tower::retry::future::ResponseFuture<RetryAttempts<C>, AttemptService<S>, Request<B>>,
    LogicalCall,
>;

impl<S, C, B, R> Service<Request<B>> for RetryService<S, C>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    S::Error: 'static,
    C: CloneRequest<B>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = RetryFuture<S, C, B>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The service that was polled ready is the one that is called. A new `Retry` for each call, because a kept one would
        // keep the context of the call before.
        let next = self.inner.clone();
        let ready = std::mem::replace(&mut self.inner, next);
        let send = |ready, shared: &Arc<RetryLayer<C>>| {
            let progress = Progress::begin(&shared.retry);
            let attempts = RetryAttempts { progress, shared: Arc::clone(shared) };
            tower::retry::Retry::new(attempts, AttemptService { inner: ready }).call(request)
        };
        match self.shared.retry.start_call() {
            None => OperationFuture::new(send(ready, &self.shared), None),
            Some(mut call) => {
                let future = call.inside(|_| send(ready, &self.shared));
                OperationFuture::new(future, Some(call))
            }
        }
    }
}
