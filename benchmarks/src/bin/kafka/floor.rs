//! A minimal handwritten instrumentation of messages with the SDK: propagator, span, attributes, bound metrics. The
//! `send` span ends when the message is enqueued instead of when the broker acknowledges it; drops and panics are not
//! handled.

use std::time::Instant;

use opentelemetry::global::{self, BoxedTracer};
use opentelemetry::metrics::{BoundCounter, BoundHistogram};
use opentelemetry::propagation::{Extractor, Injector};
use opentelemetry::trace::{SpanBuilder, SpanKind, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue};
use rdkafka::Message as _;
use rdkafka::message::{BorrowedHeaders, BorrowedMessage, Header, Headers as _, OwnedHeaders};
use rdkafka::producer::{DeliveryFuture, FutureProducer};

use crate::cell::{TOPIC, record};
use crate::producer::Halting;

/// The tracer and the instruments of one side.
struct Parts {
    tracer: BoxedTracer,
    duration: BoundHistogram<f64>,
    messages: BoundCounter<u64>,
}

impl Parts {
    fn new(duration: &'static str, messages: &'static str, operation: &'static str) -> Self {
        let (meter, attributes) = (global::meter("floor"), common(operation));
        Self {
            tracer: global::tracer("floor"),
            duration: meter.f64_histogram(duration).build().bind(&attributes),
            messages: meter.u64_counter(messages).build().bind(&attributes),
        }
    }

    fn start(
        &self,
        span: SpanBuilder,
        parent: &Context,
        attributes: impl FnOnce() -> Vec<KeyValue>,
    ) -> Context {
        let sampled = parent.span().span_context().is_sampled();
        let span = if sampled { span.with_attributes(attributes()) } else { span };
        parent.with_span(self.tracer.build_with_context(span, parent))
    }

    fn end(&self, context: &Context, started: Instant) {
        self.duration.record(started.elapsed().as_secs_f64());
        self.messages.add(1);
        context.span().end();
    }
}

fn common(operation: &'static str) -> Vec<KeyValue> {
    vec![
        KeyValue::new("messaging.operation.name", operation),
        KeyValue::new("messaging.operation.type", operation),
        KeyValue::new("messaging.system", "kafka"),
        KeyValue::new("messaging.destination.name", TOPIC),
        KeyValue::new("messaging.client.id", "till-3"),
        KeyValue::new("server.address", "127.0.0.1"),
    ]
}

fn of_message(attributes: &mut Vec<KeyValue>, partition: i32, key: Option<&[u8]>) {
    attributes.push(KeyValue::new("messaging.destination.partition.id", partition.to_string()));
    let key = key.and_then(|key| std::str::from_utf8(key).ok()).unwrap_or_default();
    attributes.push(KeyValue::new("messaging.kafka.message.key", key.to_owned()));
}

/// A producer with handwritten instrumentation.
pub(crate) struct Sender {
    pub(crate) producer: FutureProducer<Halting>,
    parts: Parts,
}

struct Written(Option<OwnedHeaders>);

impl Injector for Written {
    fn set(&mut self, key: &str, value: String) {
        let headers = self.0.take().unwrap_or_else(|| OwnedHeaders::new_with_capacity(1));
        self.0 = Some(headers.insert(Header { key, value: Some(&value) }));
    }
}

impl Sender {
    pub(crate) fn new(producer: FutureProducer<Halting>) -> Self {
        let parts =
            Parts::new("messaging.client.operation.duration", "messaging.client.sent.messages", "send");
        Self { producer, parts }
    }

    pub(crate) fn send(&self) -> DeliveryFuture {
        let started = Instant::now();
        let mut record = record();
        let span = SpanBuilder::from_name("send orders").with_kind(SpanKind::Producer);
        let context = self.parts.start(span, &Context::current(), || {
            let mut attributes = common("send");
            of_message(&mut attributes, record.partition.unwrap_or_default(), record.key);
            attributes
        });
        let mut headers = Written(None);
        global::get_text_map_propagator(|propagator| propagator.inject_context(&context, &mut headers));
        record.headers = headers.0;
        let sent = self.producer.send_result(record);
        self.parts.end(&context, started);
        sent.unwrap_or_else(|(error, _)| panic!("{error}"))
    }
}

/// Message processing with handwritten instrumentation.
pub(crate) struct Processor(Parts);

struct Received<'a>(Option<&'a BorrowedHeaders>);

impl Extractor for Received<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        let found = self.0?.iter().find(|header| header.key == key)?;
        std::str::from_utf8(found.value?).ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.map(|headers| headers.iter().map(|header| header.key).collect()).unwrap_or_default()
    }
}

impl Processor {
    pub(crate) fn new() -> Self {
        Self(Parts::new("messaging.process.duration", "messaging.client.consumed.messages", "process"))
    }

    pub(crate) fn process(&self, message: &BorrowedMessage<'_>) {
        let started = Instant::now();
        let parent = global::get_text_map_propagator(|propagator| {
            propagator.extract_with_context(&Context::new(), &Received(message.headers()))
        });
        let linked = parent.span().span_context().clone();
        let mut span = SpanBuilder::from_name("process orders").with_kind(SpanKind::Consumer);
        if linked.is_sampled() {
            span = span.with_links(vec![opentelemetry::trace::Link::with_context(linked)]);
        }
        let context = self.0.start(span, &parent, || {
            let mut attributes = common("process");
            of_message(&mut attributes, message.partition(), message.key());
            attributes.push(KeyValue::new("messaging.consumer.group.name", "till"));
            attributes.push(KeyValue::new("messaging.kafka.offset", message.offset()));
            attributes
        });
        let attached = context.clone().attach();
        assert_eq!(message.payload_len(), 100);
        drop(attached);
        self.0.end(&context, started);
    }
}
