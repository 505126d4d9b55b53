//! The recording of a call, at the response headers and at the trailers. Both sides share it; they differ in the
//! statuses that are errors.
//!
//! Follows the [gRPC semantic conventions](https://opentelemetry.io/docs/specs/semconv/rpc/grpc/) (the span covers
//! the complete call, including streams; the status comes from the trailers) and [gRPC over
//! HTTP/2](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md), "Responses".

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use http_body::Body;
use opentelemetry::KeyValue;
use opentelemetry::trace::SpanRef;
use otel_operation::{
    BoundedCache, FinishOnOutput, LazyInstruments, ObserveBody, Operation, OperationBody, OperationObserver,
    Outcome, Tracer,
};
use tonic::Code;

use crate::attributes::{self, METHOD, STATUS_CODE};
use crate::config::Options;
use crate::deadline::Deadline;
use crate::messages::{Half, MessageEvents, Messages, Scanner};
use crate::method::{self, Method, Methods};
use crate::metrics::GrpcInstruments;
use crate::outcome::{self, Side};

/// The state shared by all services of a layer.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) side: Side,
    pub(crate) options: Options,
    pub(crate) tracer: Tracer,
    pub(crate) instruments: LazyInstruments<GrpcInstruments>,
    pub(crate) methods: Methods,
    /// The parsed hosts that a server is called by; unused by clients.
    pub(crate) hosts: BoundedCache<Vec<KeyValue>>,
}

/// The state of a call. Opaque; public only because it appears in type signatures.
#[derive(Debug)]
pub struct CallRecord {
    shared: Arc<Shared>,
    method: Arc<Method>,
    /// The path of the call, until the response shows that the method exists.
    unsettled: Option<Box<str>>,
    deadline: Option<Deadline>,
    code: Option<Code>,
    http_status: StatusCode,
    /// Present only if messages are counted; boxed to keep the record small otherwise.
    messages: Option<Box<Responses>>,
}

/// The message counters of a call, and the parser of its response body.
#[derive(Debug)]
struct Responses {
    messages: Arc<Messages>,
    scanner: Scanner,
}

impl CallRecord {
    pub(crate) fn new(
        shared: &Arc<Shared>,
        method: Arc<Method>,
        unsettled: Option<&str>,
        deadline: Option<Deadline>,
    ) -> Self {
        let options = &shared.options;
        let messages = options.counts_messages().then(|| {
            let messages = Messages::new(shared.side, options.message_events, options.most_events);
            Box::new(Responses { messages: Arc::new(messages), scanner: Scanner::default() })
        });
        Self {
            shared: Arc::clone(shared),
            method,
            unsettled: unsettled.map(Box::from),
            deadline,
            code: None,
            http_status: StatusCode::OK,
            messages,
        }
    }

    /// Returns the message counters, if messages are counted.
    pub(crate) fn messages(&self) -> Option<&Arc<Messages>> {
        self.messages.as_ref().map(|messages| &messages.messages)
    }

    fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| deadline.has_passed())
    }

    fn ended_with(&mut self, mut code: Code) -> Outcome {
        // The server may see the client's deadline expire first; tonic's server then responds with CANCELLED.
        if code == Code::Cancelled && self.shared.side == Side::Client && self.is_late() {
            code = Code::DeadlineExceeded;
        }
        self.code = Some(code);
        outcome::of(self.shared.side, code)
    }

    /// Returns the status. A call that panicked has none and is UNKNOWN.
    fn code(&self) -> Code {
        self.code.unwrap_or(Code::Unknown)
    }

    /// Records the response headers and returns their status, if they have one.
    fn respond<B>(operation: &mut Operation<Self>, response: &Response<B>) -> Option<Code> {
        let code = outcome::told(response.headers());
        if operation.observer().unsettled.is_some() {
            Self::settle(operation, method::is_known_by(response, code));
        }
        if let Some(span) = operation.recording() {
            let mut list = Vec::new();
            operation.observer().shared.options.response_metadata.read(response.headers(), &mut list);
            if !list.is_empty() {
                span.set_attributes(list);
            }
        }
        operation.observer_mut().http_status = response.status();
        code
    }

    /// Names the span and the metrics after the method, if the response showed that the server has it.
    fn settle(operation: &mut Operation<Self>, known: bool) {
        if !known {
            return;
        }
        let record = operation.observer_mut();
        if let Some(path) = record.unsettled.take() {
            record.method = record.shared.methods.learn(&path);
        }
        let method = Arc::clone(&operation.observer().method);
        if let Some(span) = operation.recording() {
            span.update_name(method.span_name.clone());
            span.set_attribute(KeyValue::new(METHOD, method.name.clone()));
        }
    }
}

impl OperationObserver for CallRecord {
    fn outcome_if_dropped(&mut self) -> Outcome {
        // A response with an HTTP error determines the status even if its body is dropped unread.
        self.ended_with(match self.http_status {
            StatusCode::OK if self.is_late() => Code::DeadlineExceeded,
            StatusCode::OK => Code::Cancelled,
            status => outcome::untold(status),
        })
    }

    fn finish_span(&mut self, span: &SpanRef<'_>, _outcome: &Outcome) {
        span.set_attribute(KeyValue::new(STATUS_CODE, outcome::name(self.code())));
        if let Some(path) = &self.unsettled {
            span.set_attributes([
                KeyValue::new(METHOD, attributes::OTHER),
                attributes::method_original(path),
            ]);
        }
        if self.shared.options.message_events != MessageEvents::Off
            && let Some(messages) = self.messages()
        {
            span.set_attributes(messages.attributes());
        }
    }

    fn record_metrics(&mut self, outcome: &Outcome, elapsed: Duration) {
        let Some(instruments) = self.shared.instruments.get() else { return };
        let messages = self.messages().filter(|_| self.shared.options.message_metrics);
        let totals = messages.map(|messages| messages.totals());
        self.method.measure(instruments, self.code(), outcome, elapsed, totals.as_ref());
    }
}

impl<B, E> FinishOnOutput<Result<Response<B>, E>> for CallRecord
where
    B: Body<Data = Bytes>,
    B::Error: 'static,
    E: 'static,
{
    type Output = Result<Response<OperationBody<B, Self>>, E>;

    fn complete(operation: Option<Operation<Self>>, output: Result<Response<B>, E>) -> Self::Output {
        let Some(mut operation) = operation else {
            return output.map(|response| response.map(OperationBody::passthrough));
        };
        match output {
            Err(error) => {
                let outcome = operation.observer_mut().ended_with(outcome::of_error(&error));
                operation.finish(&outcome);
                Err(error)
            }
            Ok(response) => match Self::respond(&mut operation, &response) {
                // A trailers-only response, whose body readers need not poll.
                Some(code) => {
                    let outcome = operation.observer_mut().ended_with(code);
                    operation.finish(&outcome);
                    Ok(response.map(OperationBody::passthrough))
                }
                None => Ok(response.map(|body| OperationBody::new(body, operation, None))),
            },
        }
    }
}

impl<B> ObserveBody<B> for CallRecord
where
    B: Body<Data = Bytes>,
    B::Error: 'static,
{
    fn on_data(operation: &mut Operation<Self>, data: &Bytes) {
        let Some(mut responses) = operation.observer_mut().messages.take() else { return };
        let Responses { messages, scanner } = &mut *responses;
        messages.pass(Half::Response, scanner, data, operation.recording().as_ref());
        operation.observer_mut().messages = Some(responses);
    }

    fn on_end(&mut self, trailers: Option<&HeaderMap>) -> Outcome {
        let told = trailers.and_then(outcome::told);
        self.ended_with(told.unwrap_or_else(|| outcome::untold(self.http_status)))
    }

    fn on_error(&mut self, error: &B::Error) -> Outcome {
        self.ended_with(outcome::of_error(error))
    }
}
