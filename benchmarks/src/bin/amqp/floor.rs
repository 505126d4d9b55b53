//! A minimal handwritten instrumentation of messages with the SDK: propagator, span, attributes, bound metrics. Drops,
//! panics and returned messages are not handled, and nothing checks the size of the headers.

use std::time::Instant;

use benchmarks::messages::Variant;
use futures_util::StreamExt as _;
use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Confirmation};
use opentelemetry::global::{self, BoxedTracer};
use opentelemetry::metrics::{BoundCounter, BoundHistogram};
use opentelemetry::propagation::{Extractor, Injector};
use opentelemetry::trace::{FutureExt as _, Link, SpanBuilder, SpanKind, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue};

use crate::client::{Measured, PAYLOAD, QUEUE};

/// The instruments of one operation.
struct Instruments {
    duration: BoundHistogram<f64>,
    messages: BoundCounter<u64>,
}

/// A channel with handwritten instrumentation.
pub(crate) struct Floor {
    channel: lapin::Channel,
    server: (String, i64),
    tracer: BoxedTracer,
    publish: Instruments,
    process: Instruments,
}

struct Written(FieldTable);

impl Injector for Written {
    fn set(&mut self, key: &str, value: String) {
        self.0.insert(key.into(), AMQPValue::LongString(value.into()));
    }
}

struct Received<'a>(Option<&'a FieldTable>);

impl Extractor for Received<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match self.0?.inner().get(key)? {
            AMQPValue::LongString(value) => std::str::from_utf8(value.as_bytes()).ok(),
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        self.0.map(|headers| headers.inner().keys().map(|name| name.as_str()).collect()).unwrap_or_default()
    }
}

impl Floor {
    pub(crate) fn new(channel: lapin::Channel, server: (String, u16)) -> Self {
        let server = (server.0, i64::from(server.1));
        let instruments = |operation: &'static str| {
            let (duration, messages) = match operation {
                "process" => ("messaging.process.duration", "messaging.client.consumed.messages"),
                _ => ("messaging.client.operation.duration", "messaging.client.sent.messages"),
            };
            let (meter, attributes) = (global::meter("floor"), common(operation, &server));
            Instruments {
                duration: meter.f64_histogram(duration).build().bind(&attributes),
                messages: meter.u64_counter(messages).build().bind(&attributes),
            }
        };
        let (publish, process) = (instruments("publish"), instruments("process"));
        Self { channel, server, tracer: global::tracer("floor"), publish, process }
    }

    fn start(
        &self,
        span: SpanBuilder,
        parent: &Context,
        operation: &'static str,
        tag: Option<u64>,
    ) -> Context {
        let sampled = parent.span().span_context().is_sampled();
        let span = if sampled {
            let mut attributes = common(operation, &self.server);
            attributes.push(KeyValue::new("messaging.rabbitmq.destination.routing_key", QUEUE.as_str()));
            if let Some(tag) = tag {
                attributes.push(KeyValue::new("messaging.rabbitmq.message.delivery_tag", tag as i64));
            }
            span.with_attributes(attributes)
        } else {
            span
        };
        parent.with_span(self.tracer.build_with_context(span, parent))
    }
}

fn end(instruments: &Instruments, context: &Context, started: Instant) {
    instruments.duration.record(started.elapsed().as_secs_f64());
    instruments.messages.add(1);
    context.span().end();
}

fn common(operation: &'static str, (address, port): &(String, i64)) -> Vec<KeyValue> {
    vec![
        KeyValue::new("messaging.operation.name", operation),
        KeyValue::new("messaging.operation.type", if operation == "process" { "process" } else { "send" }),
        KeyValue::new("messaging.system", "rabbitmq"),
        KeyValue::new("messaging.destination.name", QUEUE.as_str()),
        KeyValue::new("server.address", address.clone()),
        KeyValue::new("server.port", *port),
    ]
}

impl Measured for Floor {
    type Consumer = lapin::Consumer;

    async fn publish(&self, _variant: Variant) {
        let started = Instant::now();
        let span = SpanBuilder::from_name(format!("publish {}", *QUEUE)).with_kind(SpanKind::Producer);
        let context = self.start(span, &Context::current(), "publish", None);
        let mut headers = Written(FieldTable::default());
        global::get_text_map_propagator(|propagator| propagator.inject_context(&context, &mut headers));
        let properties = BasicProperties::default().with_headers(headers.0);
        let (key, options) = (QUEUE.as_str().into(), BasicPublishOptions::default());
        let sent = self.channel.basic_publish("".into(), key, options, &PAYLOAD, properties);
        let confirm = sent.with_context(context.clone()).await.expect("the message is sent");
        let confirmation = match confirm.await.expect("the message is confirmed") {
            Confirmation::Ack(_) => "ack",
            Confirmation::Nack(_) => "nack",
            Confirmation::NotRequested => "not_requested",
        };
        let span = context.span();
        if span.is_recording() {
            span.set_attribute(KeyValue::new("messaging.rabbitmq.message.confirmation", confirmation));
        }
        end(&self.publish, &context, started);
    }

    async fn consume(&self) -> Self::Consumer {
        self.channel.consume().await
    }

    async fn process(&self, consumer: &mut Self::Consumer) {
        let delivery = consumer.next().await.expect("the consumer is open").expect("a message is received");
        let started = Instant::now();
        let parent = global::get_text_map_propagator(|propagator| {
            let headers = Received(delivery.properties.headers().as_ref());
            propagator.extract_with_context(&Context::new(), &headers)
        });
        let linked = parent.span().span_context().clone();
        let mut span = SpanBuilder::from_name(format!("process {}", *QUEUE)).with_kind(SpanKind::Consumer);
        if linked.is_sampled() {
            span = span.with_links(vec![Link::with_context(linked)]);
        }
        let context = self.start(span, &parent, "process", Some(delivery.delivery_tag));
        async { assert_eq!(delivery.data.len(), 100) }.with_context(context.clone()).await;
        end(&self.process, &context, started);
    }
}
