//! The future of a hedged call.
//!
//! Follows [tower's hedge](https://docs.rs/tower/latest/tower/hedge/index.html): the first attempt is polled first.

use std::fmt;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;

use http::{Request, Response};
use opentelemetry::{Context, KeyValue};
use otel_request::{DropReason, ResendCounter};
use pin_project_lite::pin_project;
use tokio::time::Sleep;
use tower_service::Service;

use crate::attributes::{HEDGE, HEDGE_DELAY};
use crate::grpc;
use crate::policy::Policy;
use crate::retry::RetryBudget;

/// The second attempt before it is sent.
pub(super) struct Spare<S, Q> {
    pub(super) service: S,
    pub(super) request: Q,
    /// The context of the call, so that both attempts are children of one span.
    pub(super) context: Context,
    pub(super) budget: RetryBudget,
    pub(super) policy: Policy,
}

pin_project! {
    /// The future of a [`HedgeService`](crate::HedgeService).
    pub struct HedgeFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        // `None` after it has failed, or lost.
        #[pin]
        first: Option<S::Future>,
        #[pin]
        second: Option<S::Future>,
        // `None` if the call cannot be sent twice, or has been.
        #[pin]
        sleep: Option<Sleep>,
        delay: Duration,
        spare: Option<Spare<S, Request<B>>>,
        policy: Option<Policy>,
    }
}

impl<S: Service<Request<B>>, B> HedgeFuture<S, B> {
    pub(super) fn new(first: S::Future, spare: Option<Spare<S, Request<B>>>, delay: Duration) -> Self {
        let sleep = spare.as_ref().map(|_| tokio::time::sleep(delay));
        Self { first: Some(first), second: None, sleep, delay, spare, policy: None }
    }
}

impl<S, B, R> Future for HedgeFuture<S, B>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Some(first) = this.first.as_mut().as_pin_mut()
            && let Poll::Ready(result) = first.poll(cx)
        {
            this.first.set(None);
            if this.second.is_none() || is_good(&result) {
                DropReason::HedgeLost.apply(|| this.second.set(None));
                return Poll::Ready(result);
            }
        }
        if let Some(sleep) = this.sleep.as_mut().as_pin_mut() {
            ready!(sleep.poll(cx));
            let Some(spare) = this.spare.as_mut() else { return Poll::Pending };
            // The second attempt waits for its turn as any other call; the first one can still be faster.
            let is_ready = ready!(spare.service.poll_ready(cx)).is_ok();
            this.sleep.set(None);
            if let Some(spare) = this.spare.take()
                && is_ready
                && spare.budget.withdraw()
            {
                *this.policy = Some(spare.policy.clone());
                this.second.set(Some(send(spare, *this.delay)));
            }
        }
        let Some(second) = this.second.as_mut().as_pin_mut() else { return Poll::Pending };
        let result = ready!(second.poll(cx));
        this.second.set(None);
        if this.first.is_some() && !is_good(&result) {
            return Poll::Pending;
        }
        DropReason::HedgeLost.apply(|| this.first.set(None));
        if is_good(&result)
            && let Some(instruments) =
                this.policy.as_ref().and_then(|policy| policy.instrumentation().instruments())
        {
            let name: Vec<_> = this.policy.iter().flat_map(Policy::name_attribute).collect();
            instruments.hedge_wins.add(1, &name);
        }
        Poll::Ready(result)
    }
}

/// Sends the second attempt, in the context of the call.
#[cold]
fn send<S: Service<Request<B>>, B>(spare: Spare<S, Request<B>>, delay: Duration) -> S::Future {
    let Spare { mut service, mut request, context, policy, .. } = spare;
    let _attached = context.attach();
    policy.add_event(HEDGE, [KeyValue::new(HEDGE_DELAY, delay.as_secs_f64())]);
    if let Some(instruments) = policy.instrumentation().instruments() {
        let name: Vec<_> = policy.name_attribute().collect();
        instruments.hedge_attempts.add(1, &name);
    }
    if request.extensions().get::<ResendCounter>().is_none() {
        request.extensions_mut().insert(ResendCounter::after(1));
    }
    service.call(request)
}

/// Returns true for a result that is worth taking while the other attempt still runs.
fn is_good<R, E>(result: &Result<Response<R>, E>) -> bool {
    result.as_ref().is_ok_and(|response| {
        let code = grpc::code_from_headers(response.headers());
        !response.status().is_server_error() && !code.is_some_and(grpc::is_server_error)
    })
}

impl<S: Service<Request<B>>, B> fmt::Debug for HedgeFuture<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HedgeFuture").field("is_sent_twice", &self.second.is_some()).finish_non_exhaustive()
    }
}
