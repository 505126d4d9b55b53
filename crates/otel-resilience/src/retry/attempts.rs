//! The attempts of one call, as the policy of tower's retry.
//!
//! Follows [tower's retry policy](https://docs.rs/tower/latest/tower/retry/trait.Policy.html): the request that `retry` receives
//! is the next attempt.

use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use http::{Request, Response};
use opentelemetry::Context;
use otel_request::ResendCounter;
use tokio::time::Sleep;
use tower::retry::Policy;
use tower_service::Service;

use super::http::RetryLayer;
use super::progress::Progress;
use crate::clone_request::CloneRequest;

/// The context of the call, on attempts after the first: they are sent where the call is polled, which need not be in its context.
#[derive(Clone, Debug)]
struct CallContext(Context);

/// A service that sends each attempt in the context of its call. Opaque; public only because it appears in type signatures.
#[derive(Clone, Debug)]
pub struct AttemptService<S> {
    pub(super) inner: S,
}

impl<S, B> Service<Request<B>> for AttemptService<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        let context = request.extensions_mut().remove::<CallContext>();
        let _attached = context.map(|CallContext(context)| context.attach());
        self.inner.call(request)
    }
}

/// The attempts of one call. Opaque; public only because it appears in type signatures.
#[derive(Debug)]
pub struct RetryAttempts<C> {
    pub(super) progress: Progress,
    pub(super) shared: Arc<RetryLayer<C>>,
}

// Not derived: a derive would demand `C: Clone`.
impl<C> Clone for RetryAttempts<C> {
    fn clone(&self) -> Self {
        Self { progress: self.progress.clone(), shared: Arc::clone(&self.shared) }
    }
}

impl<B, R, E, C> Policy<Request<B>, Response<R>, E> for RetryAttempts<C>
where
    E: 'static,
    C: CloneRequest<B>,
{
    type Future = Sleep;

    fn retry(&mut self, request: &mut Request<B>, result: &mut Result<Response<R>, E>) -> Option<Sleep> {
        let failure = self.shared.rules.failure(result)?;
        let delay = self.progress.resend(&self.shared.retry, &failure)?;
        // `request` is the next attempt.
        let extensions = request.extensions_mut();
        extensions.insert(CallContext(self.progress.context().clone()));
        if extensions.get::<ResendCounter>().is_none() {
            extensions.insert(ResendCounter::after(self.progress.resends()));
        }
        Some(tokio::time::sleep(delay))
    }

    fn clone_request(&mut self, request: &Request<B>) -> Option<Request<B>> {
        if !self.shared.rules.requests.repeats(request) {
            return None;
        }
        self.shared.clone.clone_request(request)
    }
}
