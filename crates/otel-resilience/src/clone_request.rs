//! The ways to repeat a request, for retry and hedging.
//!
//! Follows [tower's retry policy](https://docs.rs/tower/latest/tower/retry/trait.Policy.html#tymethod.clone_request): a request
//! is cloned before it is sent, and one that cannot be cloned is sent once.

use std::fmt;
use std::sync::Arc;

use http::Request;
use http_body::Body;
use otel_operation::catch_panic;
use otel_request::RequestHead;

/// A way to clone a request before it is sent. A closure `Fn(&Request<B>) -> Option<Request<B>>` is one.
pub trait CloneRequest<B>: Send + Sync + 'static {
    /// Returns a copy of the request with its head, its extensions and its body, or `None` if it can be sent only once.
    fn clone_request(&self, request: &Request<B>) -> Option<Request<B>>;
}

/// Clones the body, which has to be `Clone`: `Full<Bytes>`, `Empty`, a `String`. The default.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct CloneBody;

impl<B: Clone> CloneRequest<B> for CloneBody {
    fn clone_request(&self, request: &Request<B>) -> Option<Request<B>> {
        Some(request.clone())
    }
}

/// Clones requests without a body, whatever its type is: those of axum, tonic and reqwest are not `Clone`. A request with a
/// body is sent once.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct EmptyBody;

impl<B: Body + Default> CloneRequest<B> for EmptyBody {
    fn clone_request(&self, request: &Request<B>) -> Option<Request<B>> {
        request.body().is_end_stream().then(|| clone_with_body(request, B::default()))
    }
}

impl<B, F> CloneRequest<B> for F
where
    F: Fn(&Request<B>) -> Option<Request<B>> + Send + Sync + 'static,
{
    fn clone_request(&self, request: &Request<B>) -> Option<Request<B>> {
        self(request)
    }
}

/// Returns a request with the head and the extensions of another one.
pub(crate) fn clone_with_body<A, B>(request: &Request<A>, body: B) -> Request<B> {
    let mut clone = Request::new(body);
    *clone.method_mut() = request.method().clone();
    *clone.uri_mut() = request.uri().clone();
    *clone.version_mut() = request.version();
    *clone.headers_mut() = request.headers().clone();
    *clone.extensions_mut() = request.extensions().clone();
    clone
}

/// The rule by which a request may be sent twice. Default: its method is idempotent.
#[derive(Clone, Default)]
pub(crate) struct RequestRule(Option<Rule>);

type Rule = Arc<dyn Fn(&RequestHead<'_>) -> bool + Send + Sync>;

impl RequestRule {
    pub(crate) fn new(rule: impl Fn(&RequestHead<'_>) -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(rule)))
    }

    /// Returns true if the request may be sent twice. A rule of the application that panics forbids it.
    #[inline]
    pub(crate) fn repeats<B>(&self, request: &Request<B>) -> bool {
        match &self.0 {
            None => request.method().is_idempotent(),
            Some(rule) => catch_panic(|| rule(&RequestHead::new(request))).unwrap_or(false),
        }
    }
}

impl fmt::Debug for RequestRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RequestRule").field(&self.0.is_some()).finish()
    }
}
