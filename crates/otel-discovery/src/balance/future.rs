//! The future of a call: an endpoint is chosen, is awaited until it is ready, and is called.
//!
//! Follows [tower's contract](https://docs.rs/tower-service/latest/tower_service/trait.Service.html#backpressure): a service that
//! is not ready has not seen the request, so that another endpoint can have it.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;

use futures_core::future::BoxFuture;
use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::attributes::{DELAYED_PICK, DELAYED_RESOLUTION};
use crate::balance::core::Core;
use crate::balance::members::Member;
use crate::ejection::IsFailure;
use crate::error::BoxError;

pin_project! {
    /// The future of a call of a [`Balance`](crate::Balance).
    pub struct BalanceFuture<S: Service<Q>, Q, F> {
        core: Arc<Core<S>>,
        failures: F,
        request: Option<Q>,
        context: Context,
        attempt: u32,
        is_delayed: bool,
        max_attempts: u32,
        max_wait: Duration,
        #[pin]
        state: State<S, S::Future>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, F> {
        Choose { wait: Option<BoxFuture<'static, ()>> },
        Prepare { service: S, member: Pending<S>, candidates: usize },
        Call { #[pin] future: F, member: Pending<S> },
    }
}

/// Guard: a call of a member has no response yet.
struct Pending<S>(Arc<Member<S>>);

impl<S> Pending<S> {
    fn new(member: Arc<Member<S>>) -> Self {
        member.add_pending();
        Self(member)
    }
}

impl<S> Drop for Pending<S> {
    fn drop(&mut self) {
        self.0.remove_pending();
    }
}

impl<S: Service<Q>, Q, F> BalanceFuture<S, Q, F> {
    pub(super) fn new(
        core: Arc<Core<S>>,
        failures: F,
        request: Q,
        (max_attempts, max_wait): (u32, Duration),
    ) -> Self {
        let state = State::Choose { wait: None };
        let (request, context) = (Some(request), Context::current());
        Self {
            core,
            failures,
            request,
            context,
            attempt: 0,
            is_delayed: false,
            max_attempts,
            max_wait,
            state,
        }
    }
}

impl<S, Q, F> Future for BalanceFuture<S, Q, F>
where
    S: Service<Q> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    F: IsFailure<S::Response, S::Error>,
{
    type Output = Result<S::Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProjection::Choose { wait } => {
                    if let Some(waiting) = wait {
                        ready!(waiting.as_mut().poll(cx));
                    }
                    match this.core.choose() {
                        Some((member, candidates)) => {
                            if wait.is_some() {
                                this.context.span().add_event(DELAYED_RESOLUTION, Vec::new());
                            }
                            *this.attempt += 1;
                            let service = member.service.clone();
                            State::Prepare { service, member: Pending::new(member), candidates }
                        }
                        None if wait.is_none() && !*this.core.first.borrow() => {
                            State::Choose { wait: Some(first_answer(this.core, *this.max_wait)) }
                        }
                        None => return Poll::Ready(Err(this.core.nothing_known().into())),
                    }
                }
                StateProjection::Prepare { service, member, candidates } => {
                    let Poll::Ready(is_ready) = service.poll_ready(cx) else {
                        *this.is_delayed = true;
                        return Poll::Pending;
                    };
                    match is_ready {
                        Ok(()) => {
                            if *this.is_delayed {
                                this.context.span().add_event(DELAYED_PICK, Vec::new());
                            }
                            this.core.record(&member.0, *candidates, *this.attempt, this.context);
                            let Some(request) = this.request.take() else { return Poll::Pending };
                            let attached = this.context.clone().attach();
                            let future = service.call(request);
                            drop(attached);
                            let member = Pending::new(Arc::clone(&member.0));
                            State::Call { future, member }
                        }
                        Err(error) => {
                            this.core.finish(&member.0, true, this.context);
                            if *this.attempt >= *this.max_attempts {
                                this.core.record(&member.0, *candidates, *this.attempt, this.context);
                                return Poll::Ready(Err(error.into()));
                            }
                            *this.is_delayed = true;
                            // Counted alone: a span has the endpoint that was the last one.
                            this.core.count(None);
                            State::Choose { wait: None }
                        }
                    }
                }
                StateProjection::Call { future, member } => {
                    let result = ready!(future.poll(cx));
                    let is_failure = this.failures.is_failure(result.as_ref());
                    this.core.finish(&member.0, is_failure, this.context);
                    return Poll::Ready(result.map_err(Into::into));
                }
            };
            this.state.set(next);
        }
    }
}

/// Waits until the registry has answered or failed, for a time.
fn first_answer<S: Send + Sync + 'static>(core: &Arc<Core<S>>, max_wait: Duration) -> BoxFuture<'static, ()> {
    let mut first = core.first.subscribe();
    Box::pin(async move {
        // Its outcome is in the state.
        let _ = tokio::time::timeout(max_wait, first.wait_for(|first| *first)).await;
    })
}

impl<S: Service<Q>, Q, F> fmt::Debug for BalanceFuture<S, Q, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BalanceFuture").field("attempt", &self.attempt).finish_non_exhaustive()
    }
}
