//! The recording of a client call, at the response head or, by option, at the end of the response body.
//!
//! Follows the [HTTP semantic conventions](https://opentelemetry.io/docs/specs/semconv/http/http-spans/), "HTTP
//! client" and `http.client.request.duration`. A call that its caller drops is not an error.

use std::sync::Arc;
use std::time::Duration;

use bytes::Buf as _;
use http::{HeaderMap, Response, StatusCode};
use http_body::Body;
use opentelemetry::KeyValue;
use otel_operation::{Complete, ObserveBody, Operation, OperationBody, OperationFuture, Outcome, Record};

use super::Shared;
use crate::attributes::{PROTOCOL_VERSION, ProtocolVersion, STATUS_CODE};
use crate::config::EndOn;
use crate::exchange::{content_length, is_event_stream, respond};
use crate::metrics::{Key, Measured, Series};
use crate::outcome;

/// The state of a client call. Opaque; public only because it appears in type signatures.
#[derive(Debug)]
pub struct ClientRecord {
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

    /// Records the response head. Returns `true` if the operation ends with it.
    pub(crate) fn respond<B>(operation: &mut Operation<Self>, response: &Response<B>, end_on: EndOn) -> bool {
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
        let ends_here = match end_on {
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

    /// Finishes a call at the response head.
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
        let untouched = |body| OperationBody::untouched(body);
        let Some(mut operation) = operation else {
            return output.map(|response| response.map(untouched));
        };
        let end_on = operation.record().shared.options.end_on;
        match output {
            Err(error) => {
                operation.finish(&outcome::of_error(&error));
                Err(error)
            }
            Ok(response) if Self::respond(&mut operation, &response, end_on) => {
                Self::finish(operation);
                Ok(response.map(untouched))
            }
            Ok(response) => {
                let length = content_length(response.headers());
                Ok(response.map(|body| OperationBody::new(body, operation, length)))
            }
        }
    }
}

impl<B> ObserveBody<B> for ClientRecord
where
    B: Body,
    B::Error: 'static,
{
    fn data(operation: &mut Operation<Self>, data: &B::Data) {
        if let Some(bytes) = &mut operation.record_mut().response_bytes {
            *bytes += data.remaining() as u64;
        }
    }

    fn ended(&mut self, _trailers: Option<&HeaderMap>) -> Outcome {
        self.outcome()
    }

    fn failed(&mut self, error: &B::Error) -> Outcome {
        outcome::of_error(error)
    }
}

/// The future of a [`ClientService`](crate::ClientService).
pub type ClientFuture<F> = OperationFuture<F, ClientRecord>;

/// The response body of a [`ClientService`](crate::ClientService). The span ends with it only if
/// [`EndOn`](crate::EndOn) selects the body.
pub type ClientBody<B> = OperationBody<B, ClientRecord>;
