//! An observer at its place among the layers of a request.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use opentelemetry::KeyValue;
use opentelemetry::trace::SpanRef;
use otel_operation::{OperationObserver, Outcome, catch_panic};

use crate::drop_reason::{DropReason, HEDGE_LOST};
use crate::joint::Joint;
use crate::observer::RequestObserver;
use crate::owner::Joined;
use crate::span::{AttributeScope, NameRank, RequestSpan};

/// The observer of an operation, as the transport's observer and its place.
#[derive(Debug)]
pub(crate) struct RequestRecord<C> {
    pub(crate) observer: C,
    pub(crate) place: Place,
}

/// The place of a layer among the layers of its request.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) joint: Option<Arc<Joint>>,
    role: Role,
    /// The rank of the name with which the owner's span started.
    rank: NameRank,
    /// True if a layer around this one records the metrics of the protocol.
    is_measured: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Owner,
    /// Adds attributes of this scope to the owner's span; none if that does not record.
    Inner(Option<AttributeScope>),
}

impl Place {
    /// The span that this layer writes to, if it records.
    #[inline]
    pub(crate) fn span<'a>(&'a self, own: Option<SpanRef<'a>>) -> Option<RequestSpan<'a>> {
        match self.role {
            Role::Owner => own.map(|span| RequestSpan::own(span, self.joint.as_deref())),
            Role::Inner(scope) => Some(RequestSpan::joint(self.joint.as_deref()?, scope?)),
        }
    }
}

impl<C: RequestObserver> RequestRecord<C> {
    #[inline]
    pub(crate) fn owner(observer: C, rank: NameRank, is_measured: bool) -> Self {
        Self { observer, place: Place { joint: None, role: Role::Owner, rank, is_measured } }
    }

    pub(crate) fn inner(mut observer: C, joined: &Joined) -> Self {
        let scope = if joined.is_recorded { AttributeScope::Hooks } else { AttributeScope::Protocol };
        observer.on_join(scope);
        let place = Place {
            joint: Some(Arc::clone(&joined.joint)),
            role: Role::Inner(joined.facts.is_recording().then_some(scope)),
            rank: NameRank::Protocol,
            is_measured: joined.is_recorded,
        };
        Self { observer, place }
    }

    /// Returns the outcome of a response that has ended. `own` is the operation's span, if it records.
    #[inline]
    pub(crate) fn outcome_at_end(
        &mut self,
        trailers: Option<&HeaderMap>,
        is_short: bool,
        own: Option<SpanRef<'_>>,
    ) -> Outcome {
        if let Some(joint) = &self.place.joint
            && let Some(code) = joint.status(C::PROTOCOL)
        {
            self.observer.on_inner_status(code);
        }
        if is_short {
            return self.observer.on_short_body(trailers);
        }
        let outcome = self.observer.on_end(trailers);
        if outcome.error_type().is_some() && self.place.span(own).is_some() {
            return outcome.with_description(self.observer.describe_end(trailers));
        }
        outcome
    }
}

impl<C: RequestObserver> RequestRecord<C> {
    /// Observes the end of a body that came after the operation's end.
    #[cold]
    pub(crate) fn end_body(&mut self) {
        if !self.place.is_measured && self.observer.is_of_protocol() {
            let _ = catch_panic(|| self.observer.on_body_end());
        }
    }
}

impl<C: RequestObserver> OperationObserver for RequestRecord<C> {
    #[inline]
    fn add_in_flight(&self, delta: i64) -> bool {
        !self.place.is_measured && self.observer.add_in_flight(delta)
    }

    fn outcome_if_dropped(&mut self) -> Outcome {
        match DropReason::current() {
            None => self.observer.outcome_if_dropped(),
            Some(DropReason::Timeout) => self.observer.outcome_if_timed_out(),
            Some(DropReason::HedgeLost) => self.observer.outcome_if_dropped().intended(),
        }
    }

    #[inline]
    fn before_end(&mut self, outcome: &Outcome) {
        if self.place.joint.is_some() {
            self.exchange_reports(outcome);
        }
    }

    #[inline]
    fn span_outcome(&self, outcome: &Outcome) -> Option<Outcome> {
        match &self.place.joint {
            Some(joint) if self.place.role == Role::Owner => joint.overruling(C::PROTOCOL, outcome),
            _ => None,
        }
    }

    #[inline]
    fn finish_span(&mut self, span: &SpanRef<'_>, outcome: &Outcome) {
        let joint = self.place.joint.as_deref();
        self.observer.finish_span(&RequestSpan::borrowed(span, joint), outcome);
        if let Some(joint) = joint {
            joint.apply(span, self.place.rank);
        }
        if outcome.error_type().is_some() && DropReason::current() == Some(DropReason::HedgeLost) {
            span.set_attribute(KeyValue::new(HEDGE_LOST, true));
        }
    }

    #[inline]
    fn record_metrics(&mut self, outcome: &Outcome, elapsed: Duration) {
        if !self.place.is_measured && self.observer.is_of_protocol() {
            self.observer.record_metrics(outcome, elapsed);
        }
    }
}

impl<C: RequestObserver> RequestRecord<C> {
    #[cold]
    #[inline(never)]
    fn exchange_reports(&mut self, outcome: &Outcome) {
        let Self { observer, place } = self;
        let Some(joint) = place.joint.as_deref() else { return };
        if let Some(route) = observer.late_route() {
            joint.set_route(route);
        }
        if let Some(route) = joint.route() {
            observer.on_inner_route(&route);
        }
        if let Role::Inner(scope) = place.role {
            if let Some(scope) = scope {
                observer.finish_span(&RequestSpan::joint(joint, scope), outcome);
            }
            if observer.is_of_protocol() {
                joint.leave(C::PROTOCOL, outcome, observer.status());
            }
        }
    }
}
