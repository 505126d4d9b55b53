//! A span for each message of a stream that lives long, linked to the stream's span.
//!
//! A stream's own span ends with the stream, which may be hours away, and a trace with all that ever went through it would
//! be of no use. Follows the OpenTelemetry specification, "Links between spans", and the kinds of the messaging conventions
//! (PRODUCER where a message is sent, CONSUMER where it is worked on).

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use opentelemetry::trace::{Link, SpanContext, SpanKind, TraceContextExt, TracerProvider};
use opentelemetry::{Context, KeyValue};
use otel_operation::{
    Complete, Operation, OperationFuture, Outcome, Providers, Record, SpanStart, Started, Tracer, intern,
};
use otel_propagation::{HeaderReader, HeaderWriter, PropagatorHandle};

use crate::attributes::{GRPC, MESSAGE_TYPE, METHOD, SYSTEM};
use crate::config::scope;

/// The span of a client's call, as a request extension that the layer fills when the call begins: for who sends messages
/// while the call is under way. A message that is made before the call begins has no link. On a server the span is current
/// in the handler.
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

/// Starts a span for each message of a stream that lives long.
///
/// Each is linked to the stream's span, and is its child never: where nothing else is current a message begins a trace.
/// Where the application has a place for context in its messages (a `map<string, string>` is one), a message that is
/// received continues the trace of the one that was sent.
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
    propagation: PropagatorHandle,
}

impl MessageSpans {
    /// Messages of the stream whose span is current, as it is in a server's handler. `method` is its full name,
    /// `package.Service/Method`.
    #[must_use]
    pub fn current(method: &str) -> Self {
        let stream = StreamSlot::default();
        stream.fill(&Context::current());
        Self::of(method, &stream)
    }

    /// Messages of the stream whose request carries this slot.
    #[must_use]
    pub fn of(method: &str, stream: &StreamSlot) -> Self {
        Self {
            method: intern(method),
            names: ["send", "receive"].map(|what| intern(&format!("{method} {what}"))),
            stream: stream.clone(),
            tracer: Arc::new(Tracer::global(scope())),
            propagation: PropagatorHandle::global(),
        }
    }

    /// Takes spans from this provider in place of the global one.
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

    /// Reads and writes context with this propagator in place of the global one.
    #[must_use]
    pub fn with_propagator<P>(self, propagator: P) -> Self
    where
        P: opentelemetry::propagation::TextMapPropagator + Send + Sync + 'static,
    {
        Self { propagation: PropagatorHandle::new(propagator), ..self }
    }

    /// Starts the span of a message that is about to be sent, a child of what is current, and writes its context into the
    /// message's headers. It ends when it is dropped.
    pub fn send(&self, headers: &mut impl HeaderWriter) -> MessageSpan {
        let mut parent = Context::current();
        if self.stream.0.get() == Some(parent.span().span_context()) {
            // In the stream's own handler nothing but the stream is current.
            parent = otel_propagation::without_span(&parent);
        }
        let operation = self.start(SpanKind::Producer, &parent);
        operation.inject(&self.propagation, headers);
        MessageSpan(operation)
    }

    /// Runs the handling of a received message inside of a span, a child of the one in the message's headers. A message
    /// that has no place for headers has an empty map.
    pub fn receive<F: Future>(&self, headers: &impl HeaderReader, handling: F) -> MessageFuture<F> {
        let parent = self.propagation.extract(headers);
        OperationFuture::new(handling, Some(self.start(SpanKind::Consumer, &parent)))
    }

    fn start(&self, kind: SpanKind, parent: &Context) -> Operation<MessageRecord> {
        let sent = kind == SpanKind::Producer;
        let [send, receive] = &self.names;
        let name = if sent { send } else { receive }.clone();
        let started = Started::now();
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
        Operation::start(&self.tracer, start, parent, started, MessageRecord(()), attributes)
    }
}

impl fmt::Debug for MessageSpans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageSpans").field("method", &self.method).finish_non_exhaustive()
    }
}

/// The span of a message that is being sent. It ends when it is dropped.
#[derive(Debug)]
pub struct MessageSpan(Operation<MessageRecord>);

impl MessageSpan {
    /// The context that the message carries.
    #[must_use]
    pub fn context(&self) -> &Context {
        self.0.context()
    }

    /// Ends the span of a message that could not be sent, with a class out of a small set as its `error.type`.
    pub fn fail(self, error_type: &'static str) {
        self.0.finish(&Outcome::error(error_type));
    }
}

/// The future of a message's handling.
pub type MessageFuture<F> = OperationFuture<F, MessageRecord>;

/// What a message's operation keeps until its end, which is nothing. It stands in types.
#[derive(Debug)]
pub struct MessageRecord(());

impl Record for MessageRecord {
    fn abandoned(&mut self) -> Outcome {
        // The end of sending is a drop, and who stops handling a message has not failed.
        Outcome::ok()
    }

    fn measure(&mut self, _outcome: &Outcome, _elapsed: Duration) {}
}

impl<T> Complete<T> for MessageRecord {
    type Output = T;

    fn complete(operation: Option<Operation<Self>>, output: T) -> T {
        if let Some(operation) = operation {
            operation.finish(&Outcome::ok());
        }
        output
    }
}
