//! The future of a request: its context is current during every poll and while its inner future is dropped.

use std::fmt;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};

use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;

use crate::body::RequestBody;
use crate::observer::{EndsWith, RequestObserver};
use crate::scope::{RequestOperation, RequestScope, State, fail, finish, on_response};

pin_project! {
    /// The future of a request that a layer sees.
    ///
    /// If it is dropped before it is ready, the request ends as its observer says; a panic in it ends the request as `panic`.
    pub struct RequestFuture<F, C: RequestObserver> {
        // `None` after its end. It is dropped before the operation ends, because layers inside report until then.
        #[pin]
        inner: Option<F>,
        state: State<C>,
    }

    impl<F, C: RequestObserver> PinnedDrop for RequestFuture<F, C> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if this.inner.is_some() {
                let entered = this.state.enter();
                this.inner.set(None);
                entered.exit();
            }
        }
    }
}

impl<F, C: RequestObserver> RequestFuture<F, C> {
    /// Runs `inner` in the scope of its request.
    #[inline]
    pub fn new(inner: F, scope: RequestScope<C>) -> Self {
        Self { inner: Some(inner), state: scope.0 }
    }
}

impl<F, C, B, E> Future for RequestFuture<F, C>
where
    F: Future<Output = Result<Response<B>, E>>,
    C: RequestObserver,
    B: Body,
    B::Error: 'static,
    E: 'static,
{
    type Output = Result<Response<RequestBody<B, C>>, E>;

    #[inline]
    #[expect(clippy::panic, reason = "the contract of `Future`, as of every future after its end")]
    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(inner) = this.inner.as_mut().as_pin_mut() else {
            panic!("the future of a request was polled after its end")
        };
        let entered = this.state.enter();
        let output = inner.poll(cx);
        if output.is_ready() {
            this.inner.set(None);
        }
        entered.exit();
        Poll::Ready(complete(this.state, ready!(output)))
    }
}

#[inline]
fn complete<B, C, E>(
    state: &mut State<C>,
    output: Result<Response<B>, E>,
) -> Result<Response<RequestBody<B, C>>, E>
where
    C: RequestObserver,
    B: Body,
    B::Error: 'static,
    E: 'static,
{
    let State::Recorded(RequestOperation { operation, .. }) = state else {
        return output
            .map(|response| response.map(|body| RequestBody::unrecorded(body, take_context(state))));
    };
    let response = match output {
        Ok(response) => response,
        Err(error) => {
            fail(operation, &error);
            *state = State::Nothing;
            return Err(error);
        }
    };
    // All that happens before the operation moves into the body happens in place: it is a large value.
    let context = match on_response(operation, &response) {
        EndsWith::Body(length) => {
            if !response.body().is_end_stream() {
                return Ok(response.map(|body| match std::mem::replace(state, State::Nothing) {
                    State::Recorded(request) => RequestBody::recorded(body, request.operation, length),
                    _ => RequestBody::unrecorded(body, None),
                }));
            }
            None
        }
        EndsWith::Head => C::BODY_IN_CONTEXT.then(|| operation.context().clone()),
    };
    finish(operation);
    *state = State::Nothing;
    Ok(response.map(|body| RequestBody::unrecorded(body, context)))
}

fn take_context<C: RequestObserver>(state: &mut State<C>) -> Option<opentelemetry::Context> {
    match std::mem::replace(state, State::Nothing) {
        State::Context(context) => Some(context),
        _ => None,
    }
}

impl<F, C: RequestObserver> fmt::Debug for RequestFuture<F, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestFuture").finish_non_exhaustive()
    }
}
