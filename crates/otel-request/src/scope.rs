//! A request under way, and the guard that makes it the current one.

use std::fmt;

use http::{HeaderMap, Response};
use http_body::Body;
use opentelemetry::{Context, ContextGuard};
use otel_operation::{Operation, Outcome, catch_panic};

use crate::body::RequestBody;
use crate::error_type;
use crate::future::{InScope, respond};
use crate::observer::{EndsWith, RequestObserver};
use crate::owner::{self, Facts, Previous};
use crate::record::RequestRecord;

/// A request under way: recorded, or filtered and only carrying its caller's context.
pub struct RequestScope<C: RequestObserver>(pub(crate) State<C>);

pub(crate) enum State<C: RequestObserver> {
    Recorded(RequestOperation<C>),
    /// Not recorded; its code runs in its caller's context.
    Context(Context),
    Nothing,
}

pub(crate) struct RequestOperation<C: RequestObserver> {
    pub(crate) operation: Operation<RequestRecord<C>>,
    pub(crate) facts: Facts,
}

impl<C: RequestObserver> RequestScope<C> {
    /// Makes the request the current one until [`Entered::exit`]. A guard that is dropped without it is unwound by a panic.
    #[must_use]
    #[inline]
    pub fn enter(&mut self) -> Entered<'_, C> {
        self.0.enter()
    }

    /// Returns the context in which the request's code runs, if the layer has one to attach.
    #[must_use]
    pub fn context(&self) -> Option<&Context> {
        match &self.0 {
            State::Recorded(request) => Some(request.operation.context()),
            State::Context(context) => Some(context),
            State::Nothing => None,
        }
    }

    /// Returns the observer of a recorded request.
    #[must_use]
    pub fn observer_mut(&mut self) -> Option<&mut C> {
        match &mut self.0 {
            State::Recorded(request) => Some(&mut request.operation.observer_mut().observer),
            _ => None,
        }
    }

    /// Runs `inner` in the scope of the request: for a client whose future has another output than a [`Response`].
    pub async fn run<F: Future>(&mut self, inner: F) -> F::Output {
        InScope::new(inner, &mut self.0).await
    }

    /// Ends the request as its observer says, with the response's head or its body.
    pub fn respond<B>(mut self, response: Response<B>) -> Response<RequestBody<B, C>>
    where
        B: Body,
        B::Error: 'static,
    {
        respond(&mut self.0, response)
    }

    /// Ends the request at its response's head: for a client whose response type hides its body.
    pub fn finish_at_head<B: Body>(mut self, response: &Response<B>) {
        if let State::Recorded(request) = &mut self.0 {
            on_response(&mut request.operation, response);
            finish(&mut request.operation);
        }
    }

    /// Ends the request with an error in place of a response.
    pub fn fail<E: 'static>(mut self, error: &E) {
        if let State::Recorded(request) = &mut self.0 {
            fail(&mut request.operation, error);
        }
    }
}

impl<C: RequestObserver> State<C> {
    #[inline]
    pub(crate) fn enter(&mut self) -> Entered<'_, C> {
        match self {
            Self::Recorded(RequestOperation { operation, facts }) => {
                let attached = operation.attach();
                let previous = owner::enter(*facts, &mut operation.observer_mut().place.joint);
                Entered { request: Some(EnteredRequest { operation, previous }), _attached: Some(attached) }
            }
            Self::Context(context) => Entered { request: None, _attached: Some(context.clone().attach()) },
            Self::Nothing => Entered { request: None, _attached: None },
        }
    }
}

/// Observes the response's head.
#[inline]
pub(crate) fn on_response<C: RequestObserver, B: Body>(
    operation: &mut Operation<RequestRecord<C>>,
    response: &Response<B>,
) -> EndsWith {
    let (record, span) = operation.parts();
    let RequestRecord { observer, place } = record;
    let span = place.span(span);
    catch_panic(|| observer.on_response(response, span.as_ref())).unwrap_or(EndsWith::Head)
}

#[inline]
pub(crate) fn finish<C: RequestObserver>(operation: &mut Operation<RequestRecord<C>>) {
    end_response(operation, None, false);
}

/// Ends the request with its response's last frame, which `is_short` if bytes are missing.
#[inline]
pub(crate) fn end_response<C: RequestObserver>(
    operation: &mut Operation<RequestRecord<C>>,
    trailers: Option<&HeaderMap>,
    is_short: bool,
) {
    let (record, span) = operation.parts();
    let outcome = record.outcome_at_end(trailers, is_short, span);
    operation.end(&outcome);
}

#[cold]
pub(crate) fn fail<C: RequestObserver, E: 'static>(operation: &mut Operation<RequestRecord<C>>, error: &E) {
    let (record, span) = operation.parts();
    let RequestRecord { observer, place } = record;
    let span = place.span(span);
    // The sources of an error are user code.
    let outcome = catch_panic(|| observer.on_error(error, span.as_ref()));
    let outcome = outcome.unwrap_or_else(|| Outcome::error(error_type::OTHER));
    operation.end(&outcome);
}

/// Guard: the request is the current one of this thread.
pub struct Entered<'a, C: RequestObserver> {
    request: Option<EnteredRequest<'a, C>>,
    // The last field, so that an operation that ends by unwinding ends in its own context.
    _attached: Option<ContextGuard>,
}

struct EnteredRequest<'a, C: RequestObserver> {
    operation: &'a mut Operation<RequestRecord<C>>,
    previous: Previous,
}

impl<C: RequestObserver> Entered<'_, C> {
    /// Leaves the request after its code has returned.
    #[inline]
    pub fn exit(mut self) {
        if let Some(request) = self.request.take() {
            request.leave();
        }
    }
}

impl<'a, C: RequestObserver> EnteredRequest<'a, C> {
    #[inline]
    fn leave(mut self) -> &'a mut Operation<RequestRecord<C>> {
        let joint = owner::leave(&mut self.previous);
        let slot = &mut self.operation.observer_mut().place.joint;
        // `enter` took the joint out of the slot, so there is nothing to drop.
        std::mem::forget(std::mem::replace(slot, joint));
        self.operation
    }
}

impl<C: RequestObserver> Drop for Entered<'_, C> {
    #[inline]
    fn drop(&mut self) {
        if let Some(request) = self.request.take() {
            request.leave().end(&Outcome::panicked());
        }
    }
}

impl<C: RequestObserver> fmt::Debug for RequestScope<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            State::Recorded(_) => "RequestScope::Recorded",
            State::Context(_) => "RequestScope::Context",
            State::Nothing => "RequestScope::Nothing",
        })
    }
}

impl<C: RequestObserver> fmt::Debug for Entered<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entered").field("recorded", &self.request.is_some()).finish_non_exhaustive()
    }
}
