//! What is recorded of a call, and when: the same on both sides, but for what is an error.
//!
//! Follows the [gRPC semantic conventions](https://opentelemetry.io/docs/specs/semconv/rpc/grpc/) (the span covers
//! the whole call, streams included; the status comes from the trailers) and gRPC over HTTP/2, "Responses".

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

/// What all services of a layer share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) side: Side,
    pub(crate) options: Options,
    pub(crate) tracer: Tracer,
    pub(crate) instruments: LazyInstruments<GrpcInstruments>,
    pub(crate) methods: Methods,
    /// Of a server: the names that it is called by.
    pub(crate) hosts: BoundedCache<Vec<KeyValue>>,
}

/// What a call's operation keeps until its end. It has nothing to offer but to stand in types.
#[derive(Debug)]
pub struct CallRecord {
    shared: Arc<Shared>,
    method: Arc<Method>,
    /// The path of a call as long as no answer has shown that there is such a method.
    unsettled: Option<Box<str>>,
    deadline: Option<Deadline>,
    code: Option<Code>,
    http_status: StatusCode,
    /// Only where messages are counted, so that all others carry less around.
    messages: Option<Box<Responses>>,
}

/// The messages of a call, and where in them its response is.
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

    /// The messages, where they are counted.
    pub(crate) fn messages(&self) -> Option<&Arc<Messages>> {
        self.messages.as_ref().map(|messages| &messages.messages)
    }

    fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| deadline.has_passed())
    }

    fn ended_with(&mut self, mut code: Code) -> Outcome {
        // A server may be faster to see a client's deadline, and tonic's calls it cancelled.
        if code == Code::Cancelled && self.shared.side == Side::Client && self.is_late() {
            code = Code::DeadlineExceeded;
        }
        self.code = Some(code);
        outcome::of(self.shared.side, code)
    }

    /// A server that died over a call, without a status, did what the status codes call UNKNOWN.
    fn code(&self) -> Code {
        self.code.unwrap_or(Code::Unknown)
    }

    /// Tells the operation of the response's head; the status, if it is there already.
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

    /// The answer has shown whether there is a method of this name.
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
        // A page in place of a reply has told its status with its head, and nobody reads it.
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
                // A reply of trailers alone: nobody will poll its body.
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
