//! The recording of a call, at the response headers and at the trailers. Both sides share it; they differ in the
//! statuses that are errors.
//!
//! Follows the [gRPC semantic conventions](https://opentelemetry.io/docs/specs/semconv/rpc/grpc/) (the span covers
//! the complete call, including streams; the status comes from the trailers) and [gRPC over
//! HTTP/2](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md), "Responses".

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Buf;
use http::{HeaderMap, Response, StatusCode};
use http_body::Body;
use opentelemetry::KeyValue;
use otel_operation::Outcome;
use otel_request::{AttributeScope, EndsWith, NameRank, Protocol, RequestObserver, RequestSpan, SpanName};
use tonic::{Code, Status};

use crate::attributes::{self, MESSAGE, STATUS_CODE};
use crate::content_type::ContentType;
use crate::deadline::Deadline;
use crate::error;
use crate::instrumentation::{GrpcInstrumentation, Side};
use crate::messages::{Direction, MessageEvents, Messages};
use crate::method::{self, Method};
use crate::outcome;
use crate::scanner::Scanner;
use crate::web::WebTrailers;

/// The state of a call. Opaque; public only because it appears in type signatures.
#[derive(Debug)]
pub struct CallState<S> {
    instrumentation: Arc<GrpcInstrumentation<S>>,
    method: Arc<Method>,
    /// Present if a server's request is not a POST of a known method.
    unconfirmed: Option<Box<Unconfirmed>>,
    deadline: Option<Deadline>,
    code: Option<Code>,
    http_status: StatusCode,
    /// True if the response is gRPC's; `None` without a response.
    is_grpc_response: Option<bool>,
    /// True if the layer adds to the span of another layer.
    is_inner: bool,
    /// True while the call is among the active ones. Atomic, because it is set through a shared reference.
    is_active: AtomicBool,
    has_open_stream: bool,
    has_response: bool,
    /// The status message of a trailers-only response.
    message: Option<Box<str>>,
    /// Present only if messages are counted; boxed to keep the state small otherwise.
    messages: Option<Box<ResponseMessages>>,
    /// Present only if the response is gRPC-Web.
    web_trailers: Option<Box<WebTrailers>>,
}

/// A server's request that may be a call. Its span has no `rpc.*` until the response shows that it is one.
#[derive(Debug)]
pub(crate) struct Unconfirmed {
    pub(crate) path: Box<str>,
    /// True if a response can confirm the method.
    pub(crate) can_exist: bool,
    /// Present after the head of a response whose first message confirms the method.
    pub(crate) confirming: Option<ContentType>,
    /// The captured metadata of the request.
    pub(crate) metadata: Vec<KeyValue>,
}

/// The message counters of a call, and the parser of its response body.
#[derive(Debug)]
struct ResponseMessages {
    messages: Arc<Messages>,
    scanner: Scanner,
}

impl<S: Side> CallState<S> {
    #[inline]
    pub(crate) fn new(
        instrumentation: Arc<GrpcInstrumentation<S>>,
        method: Arc<Method>,
        unconfirmed: Option<Box<Unconfirmed>>,
        deadline: Option<Deadline>,
    ) -> Self {
        let options = &instrumentation.grpc;
        let messages = options.counts_messages().then(|| {
            let has_events = options.message_events == MessageEvents::Each
                && unconfirmed.as_ref().is_none_or(|unconfirmed| unconfirmed.can_exist);
            let sent = if S::IS_CLIENT { Direction::Request } else { Direction::Response };
            let messages = Messages::new(sent, if has_events { options.max_message_events } else { 0 });
            Box::new(ResponseMessages { messages: Arc::new(messages), scanner: Scanner::default() })
        });
        Self {
            instrumentation,
            method,
            unconfirmed,
            deadline,
            code: None,
            http_status: StatusCode::OK,
            is_grpc_response: None,
            is_inner: false,
            is_active: AtomicBool::new(false),
            has_open_stream: false,
            has_response: false,
            message: None,
            messages,
            web_trailers: None,
        }
    }

    #[inline]
    pub(crate) fn method(&self) -> &Method {
        &self.method
    }

    /// Returns the method, if it is known that the request is a call of it.
    #[inline]
    pub(crate) fn method_at_start(&self) -> Option<&Method> {
        self.unconfirmed.is_none().then_some(&self.method)
    }

    /// Returns the message counters, if messages are counted.
    #[inline]
    pub(crate) fn messages(&self) -> Option<Arc<Messages>> {
        self.messages.as_ref().map(|messages| Arc::clone(&messages.messages))
    }

    /// Returns true if the request is a call: a client's, a POST of a known method, or one with a response of gRPC. Without
    /// a response, a request that only this layer records is one.
    #[inline]
    fn is_call(&self) -> bool {
        self.unconfirmed.is_none() || self.is_grpc_response.unwrap_or(!self.is_inner)
    }

    fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| deadline.has_passed())
    }

    /// Sets the status and returns the outcome that follows from it.
    fn end_with(&mut self, mut code: Code) -> Outcome {
        // The server may see the client's deadline expire first; tonic's server then responds with CANCELLED.
        if code == Code::Cancelled && S::IS_CLIENT && self.is_late() {
            code = Code::DeadlineExceeded;
        }
        self.code = Some(code);
        S::outcome(code)
    }

    /// Returns the status. A call that panicked has none and is UNKNOWN.
    fn code_at_end(&self) -> Code {
        self.code.unwrap_or(Code::Unknown)
    }

    /// Adds to the active calls; at the end, also to the open streams. Returns true if the call is counted.
    fn add_active(&self, delta: i64) -> bool {
        // A server's request of an unknown method can turn out to be no call.
        let (None, Some(instruments)) = (&self.unconfirmed, self.instrumentation.instruments.get()) else {
            return false;
        };
        self.is_active.store(delta > 0, Ordering::Relaxed);
        if delta < 0 && self.has_open_stream {
            self.method.add_open_streams(instruments, -1);
        }
        self.method.add_active_calls(instruments, delta);
        true
    }

    #[cold]
    fn open_stream(&mut self) {
        if let Some(instruments) = self.instrumentation.instruments.get() {
            self.has_open_stream = true;
            self.method.add_open_streams(instruments, 1);
        }
    }

    /// Not inlined, because the usual call needs nothing of the data.
    #[inline(never)]
    fn read_data(&mut self, data: &[u8], span: Option<&RequestSpan<'_>>) {
        self.confirm_method(data, span);
        if let Some(trailers) = &mut self.web_trailers {
            trailers.read(data);
        }
        let is_call = self.is_call();
        if let Some(responses) = &mut self.messages {
            let ResponseMessages { messages, scanner } = &mut **responses;
            let span = span.filter(|span| is_call && span.scope() != AttributeScope::Hooks);
            let add_event = span.map(|span| |attributes| span.add_event(MESSAGE, attributes));
            messages.count(Direction::Response, scanner, data, add_event);
        }
    }

    /// Names the span and the metrics after the method, if the response's body begins with a message.
    fn confirm_method(&mut self, data: &[u8], span: Option<&RequestSpan<'_>>) {
        let Some(unconfirmed) = &mut self.unconfirmed else { return };
        if data.is_empty()
            || !unconfirmed.confirming.take().is_some_and(|kind| method::begins_message(kind, data))
        {
            return;
        }
        self.method = self.instrumentation.methods.learn(&unconfirmed.path);
        if let Some(span) = span
            && self.method.is_known()
        {
            span.set_name(SpanName::new(self.method.span_name.clone(), NameRank::Procedure));
        }
    }
}

impl<S: Side> RequestObserver for CallState<S> {
    const PROTOCOL: Protocol = Protocol::new(2);
    const BODY_IN_CONTEXT: bool = !S::IS_CLIENT;

    #[inline]
    fn add_in_flight(&self, delta: i64) -> bool {
        self.instrumentation.grpc.active_calls && self.add_active(delta)
    }

    fn on_join(&mut self, scope: AttributeScope) {
        self.is_inner = true;
        if scope == AttributeScope::Hooks
            && let Some(messages) = &mut self.messages
            && let Some(messages) = Arc::get_mut(&mut messages.messages)
        {
            messages.disable_events();
        }
    }

    #[inline]
    fn on_response<B: Body>(&mut self, response: &Response<B>, span: Option<&RequestSpan<'_>>) -> EndsWith {
        let headers = response.headers();
        let code = outcome::code_from_headers(headers);
        self.http_status = response.status();
        self.has_response = true;
        if !S::IS_CLIENT && (code.is_none() || self.unconfirmed.is_some()) {
            let content_type = ContentType::from_headers(headers);
            let is_grpc = code.is_some() || content_type != ContentType::Other;
            self.is_grpc_response = Some(is_grpc);
            if is_grpc {
                self.web_trailers = WebTrailers::new(content_type);
            }
            if let Some(unconfirmed) = &mut self.unconfirmed
                && unconfirmed.can_exist
                && method::can_confirm(self.http_status, content_type)
            {
                unconfirmed.confirming = Some(content_type);
            }
        }
        let captured = &self.instrumentation.grpc.common.response_headers;
        if let Some(span) = span
            && !captured.is_empty()
            && span.scope() != AttributeScope::Hooks
            && self.is_call()
        {
            let mut list = Vec::new();
            captured.read(headers, &mut list);
            if !list.is_empty() {
                span.set_attributes(list);
            }
        }
        match code {
            // A trailers-only response, whose body readers need not poll.
            Some(_) => {
                self.code = code;
                if span.is_some() && code != Some(Code::Ok) {
                    self.message = outcome::message_from_headers(headers).map(String::into_boxed_str);
                }
                EndsWith::Head
            }
            None => {
                if self.is_active.load(Ordering::Relaxed) {
                    self.open_stream();
                }
                EndsWith::Body(None)
            }
        }
    }

    #[inline]
    fn on_data<D: Buf>(&mut self, data: &D, span: Option<&RequestSpan<'_>>) {
        if self.unconfirmed.is_some() || self.web_trailers.is_some() || self.messages.is_some() {
            self.read_data(data.chunk(), span);
        }
    }

    #[inline]
    fn on_end(&mut self, trailers: Option<&HeaderMap>) -> Outcome {
        let code = trailers.and_then(outcome::code_from_headers);
        let code = code.or_else(|| self.web_trailers.as_ref()?.code()).or(self.code);
        if code.is_some() {
            self.is_grpc_response = Some(true);
        } else if !self.is_call() {
            return outcome::of_other_request(self.http_status);
        }
        self.end_with(code.unwrap_or_else(|| outcome::code_from_http_status(self.http_status)))
    }

    fn on_error<E: 'static>(&mut self, error: &E, span: Option<&RequestSpan<'_>>) -> Outcome {
        let instrumentation = Arc::clone(&self.instrumentation);
        let common = &instrumentation.grpc.common;
        if !self.is_call() {
            return common.error_outcome(error, self.has_response, span.is_some());
        }
        let error = error::view(error);
        let outcome = self.end_with(error::code(&error));
        if outcome.error_type().is_none() {
            return outcome;
        }
        let error_type = match self.code {
            // Statuses of many causes: the class of the error says more.
            Some(Code::Unknown | Code::Internal | Code::Unavailable) => {
                common.error_type(&error, self.has_response)
            }
            _ => common.chosen_error_type(&error),
        };
        let outcome = error_type.map_or(outcome, Outcome::error);
        if span.is_none() {
            return outcome;
        }
        // The text of a status lists its details, too.
        let message = error.find::<Status>().map(Status::message).filter(|message| !message.is_empty());
        common.describe_error(outcome, &error, message)
    }

    fn describe_end(&mut self, trailers: Option<&HeaderMap>) -> Cow<'static, str> {
        let message = trailers.and_then(outcome::message_from_headers);
        let message = message.or_else(|| self.web_trailers.as_ref()?.message());
        let message = message.or_else(|| self.message.take().map(String::from));
        message.map_or(Cow::Borrowed(""), |message| {
            self.instrumentation.grpc.common.description_from_message(&message)
        })
    }

    fn outcome_if_dropped(&mut self) -> Outcome {
        if !self.is_call() {
            return Outcome::cancelled();
        }
        if let Some(code) = self.web_trailers.as_ref().and_then(|trailers| trailers.code()) {
            return self.end_with(code);
        }
        // A response with an HTTP error determines the status even if its body is dropped unread.
        let outcome = self.end_with(match self.http_status {
            StatusCode::OK if self.is_late() => Code::DeadlineExceeded,
            StatusCode::OK => Code::Cancelled,
            status => outcome::code_from_http_status(status),
        });
        if S::IS_CLIENT && self.code == Some(Code::Cancelled) {
            return self.instrumentation.grpc.common.outcome_of_cancellation(outcome);
        }
        outcome
    }

    fn outcome_if_timed_out(&mut self) -> Outcome {
        if self.is_call() { self.end_with(Code::DeadlineExceeded) } else { Outcome::error("timeout") }
    }

    fn is_of_protocol(&self) -> bool {
        self.is_call()
    }

    fn status(&self) -> Option<u16> {
        self.code.map(|code| code as u16)
    }

    fn on_inner_status(&mut self, code: u16) {
        // The layer's own response is closer to the peer.
        self.code = self.code.or(Some(Code::from_i32(code.into())));
    }

    #[inline]
    fn finish_span(&mut self, span: &RequestSpan<'_>, _outcome: &Outcome) {
        if span.scope() == AttributeScope::Hooks || !self.is_call() {
            return;
        }
        if let Some(unconfirmed) = &mut self.unconfirmed {
            let mut list = std::mem::take(&mut unconfirmed.metadata);
            list.extend_from_slice(self.method.names());
            if !self.method.is_known() {
                list.push(attributes::method_original(&unconfirmed.path));
            }
            span.set_attributes(list);
        }
        span.set_attribute(KeyValue::new(STATUS_CODE, outcome::name(self.code_at_end())));
        let options = &self.instrumentation.grpc;
        if options.message_events != MessageEvents::Off
            && let Some(responses) = &self.messages
        {
            span.set_attributes(responses.messages.attributes());
        }
    }

    #[inline]
    fn record_metrics(&mut self, outcome: &Outcome, elapsed: Duration) {
        let Some(instruments) = self.instrumentation.instruments.get() else { return };
        let options = &self.instrumentation.grpc;
        let messages = self.messages.as_ref().filter(|_| options.message_metrics);
        let totals = messages.map(|responses| responses.messages.totals());
        self.method.measure(instruments, self.code_at_end(), outcome, elapsed, totals.as_ref());
    }
}
