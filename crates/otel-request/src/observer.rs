//! The contract with a transport: the part of a request that its protocol observes and records.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Buf;
use http::{HeaderMap, Response};
use http_body::Body;
use otel_operation::Outcome;

use crate::error_type::ErrorClass;
use crate::protocol::Protocol;
use crate::span::{AttributeScope, RequestSpan};

/// The point at which a request ends.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_enums, reason = "a transport constructs it")]
pub enum EndsWith {
    /// The response's head.
    Head,
    /// The response's head. The body after it is observed by [`on_data`](RequestObserver::on_data) and
    /// [`on_body_end`](RequestObserver::on_body_end).
    HeadBeforeBody,
    /// The response's body, whose length in bytes is this according to the head. A response that has no body by its method
    /// or status ends with its head.
    Body(Option<u64>),
}

/// One request as its protocol records it. This crate decides when each method runs, and each end runs once.
///
/// A panic of [`on_response`](Self::on_response), [`finish_span`](Self::finish_span), [`record_metrics`](Self::record_metrics)
/// and [`add_in_flight`](Self::add_in_flight) does not reach the request.
pub trait RequestObserver: Send + 'static {
    /// The protocol.
    const PROTOCOL: Protocol;

    /// True if the code of a body that outlives its operation runs in the operation's context. Servers need it: their body is
    /// user code.
    const BODY_IN_CONTEXT: bool = false;

    /// Adds `delta` to the number of requests in flight; returns true if it was counted.
    fn add_in_flight(&self, delta: i64) -> bool {
        let _ = delta;
        false
    }

    /// Observes the response's head; returns the point at which the request ends.
    fn on_response<B: Body>(&mut self, response: &Response<B>, span: Option<&RequestSpan<'_>>) -> EndsWith;

    /// Observes a data frame of the response's body.
    #[inline]
    fn on_data<D: Buf>(&mut self, data: &D, span: Option<&RequestSpan<'_>>) {
        let _ = (data, span);
    }

    /// Returns the outcome of a response that ended with its head or its body.
    fn on_end(&mut self, trailers: Option<&HeaderMap>) -> Outcome;

    /// Returns the outcome of a call or a body that failed. Only a recording span needs a description.
    fn on_error<E: 'static>(&mut self, error: &E, span: Option<&RequestSpan<'_>>) -> Outcome;

    /// Returns the description of a response's failure, for the status of a recording span. Called after
    /// [`on_end`](Self::on_end).
    fn describe_end(&mut self, trailers: Option<&HeaderMap>) -> Cow<'static, str> {
        let _ = trailers;
        Cow::Borrowed("")
    }

    /// Returns the outcome of a response whose body ended before its declared length.
    fn on_short_body(&mut self, trailers: Option<&HeaderMap>) -> Outcome {
        self.on_end(trailers)
    }

    /// Observes the end of a body after [`EndsWith::HeadBeforeBody`]: read, failed, dropped, or absent. The operation has
    /// ended, unless the response has no body.
    fn on_body_end(&mut self) {}

    /// Returns the outcome of a request that was dropped before its end.
    fn outcome_if_dropped(&mut self) -> Outcome {
        Outcome::cancelled()
    }

    /// Returns the outcome of a request that a time-out dropped before its end ([`DropReason::Timeout`](crate::DropReason)).
    fn outcome_if_timed_out(&mut self) -> Outcome {
        Outcome::error(ErrorClass::Timeout.as_str())
    }

    /// The layer has joined the span of a layer around it, to which it adds attributes of this scope.
    fn on_join(&mut self, scope: AttributeScope) {
        let _ = scope;
    }

    /// Returns false if the response showed that the request is not of this protocol. An inner layer then reports no outcome,
    /// and no metrics are recorded.
    fn is_of_protocol(&self) -> bool {
        true
    }

    /// Returns a route that became known after the start, for the layers around this one.
    fn late_route(&mut self) -> Option<&str> {
        None
    }

    /// Takes the route that a layer further in reported. Called once, before the end, if a route is known.
    fn on_inner_route(&mut self, route: &str) {
        let _ = route;
    }

    /// Returns the protocol's status code for outer layers of the same protocol, which may not see it themselves.
    fn status(&self) -> Option<u16> {
        None
    }

    /// Takes the status code of an inner layer of the same protocol, before [`on_end`](Self::on_end).
    fn on_inner_status(&mut self, code: u16) {
        let _ = code;
    }

    /// Writes the last attributes. `error.type` and the status are not the observer's: the operation sets them.
    fn finish_span(&mut self, span: &RequestSpan<'_>, outcome: &Outcome) {
        let _ = (span, outcome);
    }

    /// Records the metrics of the ended request.
    fn record_metrics(&mut self, outcome: &Outcome, elapsed: Duration);
}
