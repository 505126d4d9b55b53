//! Spans for the messages of long-lived streams, linked to the stream's span.
//!
//! A stream's span ends with the stream, which may take hours, and a trace of all its messages would grow without
//! bound. Follows the [OpenTelemetry specification, "Links between
//! spans"](https://opentelemetry.io/docs/specs/otel/overview/#links-between-spans), and the span kinds of the
//! [messaging conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/#span-kind):
//! PRODUCER for sending a message, CONSUMER for processing it.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use opentelemetry::trace::{Link, SpanContext, SpanKind, TraceContextExt, TracerProvider};
use opentelemetry::{Context, KeyValue};
use otel_operation::{
    FinishOnOutput, Operation, OperationFuture, OperationObserver, Outcome, Providers, SpanStart, StartTime,
    Tracer, intern,
};
use otel_propagation::{HeaderReader, HeaderWriter, PropagatorHandle};

use crate::attributes::{GRPC, MESSAGE_TYPE, METHOD, SYSTEM};
use crate::config::scope;

/// A request extension that receives the span context of a client call, for [`MessageSpans::new`].
///
/// The client layer sets it when the call starts; message spans started earlier have no link to the stream. Servers
/// do not need it, because the stream's span is current in the handler: see [`MessageSpans::current`].
///
/// ```
/// let stream = otel_grpc::StreamSlot::default();
/// let mut request = tonic::Request::new(());
/// request.extensions_mut().insert(stream.clone());
/// ```
#[derive(Clone, Debug, Default)]
pub struct StreamSlot(Arc<OnceLock<SpanContext>>);

impl StreamSlot {
    pub(crate) fn fill(&self, context: &Context) {
        let _ = self.0.set(context.span().span_context().clone());
    }
}

/// Starts a span for each message of a long-lived stream.
///
/// A message's span is linked to the stream's span and never its child: without another parent it starts a trace. If
/// the application's messages have a field for context, such as a `map<string, string>`, the span of a received
/// message continues the trace of the sender.
///
/// ```
/// # use std::collections::HashMap;
/// # async fn handle() {}
/// # async fn handler(mut headers: HashMap<String, String>) {
/// // In the handler of a streaming call:
/// let spans = otel_grpc::MessageSpans::current("chat.v1.Chat/Join");
/// // For a message that was received:
/// spans.receive(&headers, handle()).await;
/// // For one that is sent, before it is given to the stream:
/// let sending = spans.send(&mut headers);
/// // … and when the stream has taken it:
/// drop(sending);
/// # }
/// ```
#[derive(Clone)]
pub struct MessageSpans {
    method: Cow<'static, str>,
    names: [Cow<'static, str>; 2],
    stream: StreamSlot,
    tracer: Arc<Tracer>,
    propagator: PropagatorHandle,
}

impl MessageSpans {
    /// Creates the message spans of the stream whose span is current, as in a server's handler. `method` is the full
    /// name, `package.Service/Method`.
    #[must_use]
    pub fn current(method: &str) -> Self {
        let stream = StreamSlot::default();
        stream.fill(&Context::current());
        Self::new(method, &stream)
    }

    /// Creates the message spans of the stream whose request carries this slot. `method` is the full name,
    /// `package.Service/Method`.
    #[must_use]
    pub fn new(method: &str, stream: &StreamSlot) -> Self {
        Self {
            method: intern(method),
            names: ["send", "receive"].map(|what| intern(&format!("{method} {what}"))),
            stream: stream.clone(),
            tracer: Arc::new(Tracer::global(scope())),
            propagator: PropagatorHandle::global(),
        }
    }

    /// Starts spans with `provider`. Default: the global tracer provider.
    #[must_use]
    pub fn with_tracer_provider<P>(self, provider: &P) -> Self
    where
        P: TracerProvider + Clone + Send + Sync + 'static,
        P::Tracer: Send + Sync + 'static,
        <P::Tracer as opentelemetry::trace::Tracer>::Span: Send + Sync + 'static,
    {
        let mut providers = Providers::default();
        providers.set_tracer_provider(provider);
        Self { tracer: Arc::new(providers.tracer(scope())), ..self }
    }

    /// Extracts and injects context with `propagator`. Default: the global propagator.
    #[must_use]
    pub fn with_propagator<P>(self, propagator: P) -> Self
    where
        P: opentelemetry::propagation::TextMapPropagator + Send + Sync + 'static,
    {
        Self { propagator: PropagatorHandle::new(propagator), ..self }
    }

    /// Starts the span of a message to send, as a child of the current span unless that is the stream's, and injects
    /// its context into the message's headers. The span ends when the returned guard is dropped.
    pub fn send(&self, headers: &mut impl HeaderWriter) -> MessageSpan {
        let mut parent = Context::current();
        if self.stream.0.get() == Some(parent.span().span_context()) {
            // The current span is the stream's, whose child a message must not be.
            parent = otel_propagation::without_span(&parent);
        }
        let operation = self.start(SpanKind::Producer, &parent);
        operation.inject(&self.propagator, headers);
        MessageSpan(operation)
    }

    /// Wraps the handling of a received message in a span, as a child of the span context in the message's headers.
    /// For messages without headers, pass an empty map.
    pub fn receive<F: Future>(&self, headers: &impl HeaderReader, handling: F) -> MessageFuture<F> {
        let parent = self.propagator.extract(headers);
        OperationFuture::new(handling, Some(self.start(SpanKind::Consumer, &parent)))
    }

    fn start(&self, kind: SpanKind, parent: &Context) -> Operation<MessageState> {
        let sent = kind == SpanKind::Producer;
        let [send, receive] = &self.names;
        let name = if sent { send } else { receive }.clone();
        let started = StartTime::now();
        let mut start = SpanStart::new(name, kind, started.time);
        if let Some(stream) = self.stream.0.get() {
            start = start.with_link(Link::with_context(stream.clone()));
        }
        let attributes = || {
            vec![
                KeyValue::new(SYSTEM, GRPC),
                KeyValue::new(METHOD, self.method.clone()),
                KeyValue::new(MESSAGE_TYPE, if sent { "SENT" } else { "RECEIVED" }),
            ]
        };
        Operation::start(&self.tracer, || start, parent, started, MessageState(()), attributes)
    }
}

impl fmt::Debug for MessageSpans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageSpans").field("method", &self.method).finish_non_exhaustive()
    }
}

/// The span of a message that is being sent. Dropping it ends the span.
#[derive(Debug)]
pub struct MessageSpan(Operation<MessageState>);

impl MessageSpan {
    /// Returns the context that was injected into the message.
    #[must_use]
    pub fn context(&self) -> &Context {
        self.0.context()
    }

    /// Ends the span of a message that could not be sent. `error_type` must have a low cardinality.
    pub fn fail(self, error_type: &'static str) {
        self.0.finish(&Outcome::error(error_type));
    }
}

/// The future of [`MessageSpans::receive`].
pub type MessageFuture<F> = OperationFuture<F, MessageState>;

/// The state of a message's operation. Opaque; public only because it appears in type signatures.
#[derive(Debug)]
pub struct MessageState(());

impl OperationObserver for MessageState {
    fn outcome_if_dropped(&mut self) -> Outcome {
        // Dropping a `MessageSpan` is its normal end, and dropped handling of a message is not an error.
        Outcome::ok()
    }

    fn record_metrics(&mut self, _outcome: &Outcome, _elapsed: Duration) {}
}

impl<T> FinishOnOutput<T> for MessageState {
    type Output = T;

    fn complete(operation: Option<Operation<Self>>, output: T) -> T {
        if let Some(operation) = operation {
            operation.finish(&Outcome::ok());
        }
        output
    }
}
