//! The future of a request: its context is current during every poll and while its inner future is dropped.

use std::fmt;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};

use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;

use crate::body::{BodyPart, RequestBody};
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
    match output {
        Ok(response) => Ok(respond(state, response)),
        Err(error) => {
            if let State::Recorded(RequestOperation { operation, .. }) = state {
                fail(operation, &error);
            }
            *state = State::Nothing;
            Err(error)
        }
    }
}

/// Ends the request with the response's head, or moves it into the response's body.
#[inline]
pub(crate) fn respond<B, C>(state: &mut State<C>, response: Response<B>) -> Response<RequestBody<B, C>>
where
    C: RequestObserver,
    B: Body,
    B::Error: 'static,
{
    let State::Recorded(RequestOperation { operation, facts }) = state else {
        return response.map(|body| RequestBody::unrecorded(body, take_context(state)));
    };
    // All that happens before the operation moves into the body happens in place: it is a large value.
    let ends_with = on_response(operation, &response);
    let has_body = || !response.body().is_end_stream() && facts.allows_body(response.status());
    let part = match ends_with {
        EndsWith::Body(length) if has_body() => Some(BodyPart::Operation(length)),
        EndsWith::HeadBeforeBody if has_body() => Some(BodyPart::AfterEnd),
        EndsWith::HeadBeforeBody => {
            operation.observer_mut().end_body();
            None
        }
        EndsWith::Body(_) | EndsWith::Head => None,
    };
    if !matches!(part, Some(BodyPart::Operation(_))) {
        finish(operation);
    }
    if let Some(part) = part {
        return response.map(|body| match std::mem::replace(state, State::Nothing) {
            State::Recorded(request) => RequestBody::recorded(body, request.operation, part),
            _ => RequestBody::unrecorded(body, None),
        });
    }
    let context =
        (C::BODY_IN_CONTEXT && !response.body().is_end_stream()).then(|| operation.context().clone());
    *state = State::Nothing;
    response.map(|body| RequestBody::unrecorded(body, context))
}

pin_project! {
    /// A future that runs in the scope of a request.
    pub(crate) struct InScope<'a, F, C: RequestObserver> {
        // `None` after its end.
        #[pin]
        inner: Option<F>,
        state: &'a mut State<C>,
    }

    impl<F, C: RequestObserver> PinnedDrop for InScope<'_, F, C> {
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

impl<'a, F, C: RequestObserver> InScope<'a, F, C> {
    pub(crate) fn new(inner: F, state: &'a mut State<C>) -> Self {
        Self { inner: Some(inner), state }
    }
}

impl<F: Future, C: RequestObserver> Future for InScope<'_, F, C> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        let Some(inner) = this.inner.as_mut().as_pin_mut() else {
            // Only `RequestScope::run` awaits it, once.
            return Poll::Pending;
        };
        let entered = this.state.enter();
        let output = inner.poll(cx);
        if output.is_ready() {
            this.inner.set(None);
        }
        entered.exit();
        output
    }
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
