//! What is recorded of a client's call, and when: at the response's head, or at its body's end where that is chosen.
//!
//! Follows the HTTP semantic conventions, "HTTP client" and `http.client.request.duration`; a call that its caller gave
//! up is no error of anybody.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use http::{HeaderMap, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use opentelemetry::KeyValue;
use otel_operation::{Complete, ObserveBody, Operation, OperationBody, OperationFuture, Outcome, Record};
use pin_project_lite::pin_project;

use super::Shared;
use crate::attributes::{PROTOCOL_VERSION, ProtocolVersion, STATUS_CODE};
use crate::config::EndOn;
use crate::exchange::{content_length, is_event_stream, respond};
use crate::metrics::{Key, Measured, Series};
use crate::outcome;

/// What a call's operation keeps until its end.
pub(crate) struct ClientRecord {
    shared: Arc<Shared>,
    series: Arc<Series>,
    key: Key,
    request_bytes: Option<u64>,
    response_bytes: Option<u64>,
}

impl ClientRecord {
    pub(super) fn new(
        shared: Arc<Shared>,
        series: Arc<Series>,
        key: Key,
        request_bytes: Option<u64>,
    ) -> Self {
        Self { shared, series, key, request_bytes, response_bytes: None }
    }

    fn outcome(&self) -> Outcome {
        self.key.status.map_or_else(Outcome::ok, outcome::of_client)
    }

    /// Tells the span and the metrics of the response's head; whether the operation ends with it.
    pub(crate) fn respond<B>(operation: &mut Operation<Self>, response: &Response<B>) -> bool {
        let version = ProtocolVersion::of(response.version());
        let status = response.status();
        let shared = Arc::clone(&operation.record().shared);
        if let Some(span) = operation.recording() {
            span.set_attributes([
                KeyValue::new(STATUS_CODE, i64::from(status.as_u16())),
                KeyValue::new(PROTOCOL_VERSION, version.as_str()),
            ]);
            respond(&shared.options, &span, response);
        }
        let ends_here = match shared.options.end_on {
            EndOn::Head => true,
            EndOn::Body => status == StatusCode::SWITCHING_PROTOCOLS,
            EndOn::Auto => status == StatusCode::SWITCHING_PROTOCOLS || is_event_stream(response.headers()),
        };
        let record = operation.record_mut();
        record.key.status = Some(status);
        record.key.version = Some(version);
        if shared.options.body_sizes {
            record.response_bytes = if ends_here { content_length(response.headers()) } else { Some(0) };
        }
        ends_here
    }

    /// Ends a call at the response's head.
    pub(crate) fn finish(operation: Operation<Self>) {
        let outcome = operation.record().outcome();
        operation.finish(&outcome);
    }
}

impl Record for ClientRecord {
    fn in_flight(&self, delta: i64) -> bool {
        let Some(instruments) = self.shared.instruments.get() else { return false };
        self.series.in_flight(instruments, &self.shared.options.known_methods, &self.key, delta);
        true
    }

    fn abandoned(&mut self) -> Outcome {
        Outcome::ok()
    }

    fn measure(&mut self, outcome: &Outcome, elapsed: Duration) {
        let Some(instruments) = self.shared.instruments.get() else { return };
        let measured =
            Measured { elapsed, request_bytes: self.request_bytes, response_bytes: self.response_bytes };
        self.series.measure(instruments, &self.shared.options.known_methods, self.key, outcome, &measured);
    }
}

impl<B, E> Complete<Result<Response<B>, E>> for ClientRecord
where
    B: Body,
    B::Error: 'static,
    E: 'static,
{
    type Output = Result<Response<ClientBody<B>>, E>;

    fn complete(operation: Option<Operation<Self>>, output: Result<Response<B>, E>) -> Self::Output {
        let untouched = |body| ClientBody { inner: OperationBody::untouched(body) };
        let Some(mut operation) = operation else {
            return output.map(|response| response.map(untouched));
        };
        match output {
            Err(error) => {
                operation.finish(&outcome::of_error(&error));
                Err(error)
            }
            Ok(response) if Self::respond(&mut operation, &response) => {
                Self::finish(operation);
                Ok(response.map(untouched))
            }
            Ok(response) => {
                let length = content_length(response.headers());
                Ok(response.map(|body| ClientBody { inner: OperationBody::new(body, operation, length) }))
            }
        }
    }
}

impl<E: 'static> ObserveBody<E> for ClientRecord {
    fn data(&mut self, bytes: usize) {
        self.response_bytes = self.response_bytes.map(|before| before + bytes as u64);
    }

    fn ended(&mut self, _trailers: Option<&HeaderMap>) -> Outcome {
        self.outcome()
    }

    fn failed(&mut self, error: &E) -> Outcome {
        outcome::of_error(error)
    }
}

pin_project! {
    /// The future of a recorded call.
    pub struct ClientFuture<F> {
        #[pin]
        inner: OperationFuture<F, ClientRecord>,
    }
}

impl<F, B, E> Future for ClientFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
    B::Error: 'static,
    E: 'static,
{
    type Output = Result<Response<ClientBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        self.project().inner.poll(cx)
    }
}

impl<F> fmt::Debug for ClientFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl<F> ClientFuture<F> {
    pub(super) fn new(inner: OperationFuture<F, ClientRecord>) -> Self {
        Self { inner }
    }
}

pin_project! {
    /// The body of a recorded call's response. The call ends with it where that was chosen.
    pub struct ClientBody<B: Body> where B::Error: 'static {
        #[pin]
        inner: OperationBody<B, ClientRecord>,
    }
}

impl<B: Body> Body for ClientBody<B>
where
    B::Error: 'static,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        self.project().inner.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<B: Body + Default> Default for ClientBody<B>
where
    B::Error: 'static,
{
    fn default() -> Self {
        Self { inner: OperationBody::default() }
    }
}

impl<B: Body> fmt::Debug for ClientBody<B>
where
    B::Error: 'static,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
