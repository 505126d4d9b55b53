//! A minimal handwritten instrumentation of messages with the SDK: propagator, span, attributes, bound metrics. Drops and
//! panics are not handled, and nothing checks the size of a message.

use std::time::Instant;

use async_nats::HeaderMap;
use benchmarks::messages::Variant;
use bytes::Bytes;
use futures_util::StreamExt as _;
use opentelemetry::global::{self, BoxedTracer};
use opentelemetry::metrics::{BoundCounter, BoundHistogram};
use opentelemetry::propagation::{Extractor, Injector};
use opentelemetry::trace::{FutureExt as _, Link, SpanBuilder, SpanKind, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue};

use crate::client::{Measured, SUBJECT};

/// The instruments of one operation.
struct Instruments {
    duration: BoundHistogram<f64>,
    messages: BoundCounter<u64>,
}

/// A client with handwritten instrumentation.
pub(crate) struct Floor {
    client: async_nats::Client,
    server: (String, i64),
    tracer: BoxedTracer,
    publish: Instruments,
    request: Instruments,
    process: Instruments,
}

struct Written(HeaderMap);

impl Injector for Written {
    fn set(&mut self, key: &str, value: String) {
        self.0.insert(key, value.as_str());
    }
}

struct Received<'a>(Option<&'a HeaderMap>);

impl Extractor for Received<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        Some(self.0?.get(key)?.as_str())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.map(|headers| headers.iter().map(|(name, _)| name.as_ref()).collect()).unwrap_or_default()
    }
}

impl Floor {
    pub(crate) fn new(client: async_nats::Client, server: (String, u16)) -> Self {
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
        let (publish, request, process) =
            (instruments("publish"), instruments("request"), instruments("process"));
        Self { client, server, tracer: global::tracer("floor"), publish, request, process }
    }

    fn start(&self, span: SpanBuilder, parent: &Context, operation: &'static str) -> Context {
        let sampled = parent.span().span_context().is_sampled();
        let span = if sampled { span.with_attributes(common(operation, &self.server)) } else { span };
        parent.with_span(self.tracer.build_with_context(span, parent))
    }

    fn start_sending(&self, operation: &'static str, kind: SpanKind) -> (Context, HeaderMap) {
        let span = SpanBuilder::from_name(format!("{operation} {SUBJECT}")).with_kind(kind);
        let context = self.start(span, &Context::current(), operation);
        let mut headers = Written(HeaderMap::new());
        global::get_text_map_propagator(|propagator| propagator.inject_context(&context, &mut headers));
        (context, headers.0)
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
        KeyValue::new("messaging.system", "nats"),
        KeyValue::new("messaging.destination.name", SUBJECT),
        KeyValue::new("server.address", address.clone()),
        KeyValue::new("server.port", *port),
    ]
}

impl Measured for Floor {
    type Subscriber = async_nats::Subscriber;

    async fn publish(&self, _variant: Variant, payload: Bytes) {
        let started = Instant::now();
        let (context, headers) = self.start_sending("publish", SpanKind::Producer);
        let sent = self.client.publish_with_headers(SUBJECT, headers, payload);
        sent.with_context(context.clone()).await.expect("the message is queued");
        end(&self.publish, &context, started);
    }

    async fn request(&self, _variant: Variant, payload: Bytes) {
        let started = Instant::now();
        let (context, headers) = self.start_sending("request", SpanKind::Client);
        let reply = self.client.request_with_headers(SUBJECT, headers, payload);
        reply.with_context(context.clone()).await.expect("the request is answered");
        end(&self.request, &context, started);
    }

    async fn subscribe(&self, subject: String) -> Self::Subscriber {
        self.client.subscribe(subject).await.expect("the subscription is sent")
    }

    async fn process(&self, subscriber: &mut Self::Subscriber) {
        let message = subscriber.next().await.expect("a message is received");
        let started = Instant::now();
        let parent = global::get_text_map_propagator(|propagator| {
            propagator.extract_with_context(&Context::new(), &Received(message.headers.as_ref()))
        });
        let linked = parent.span().span_context().clone();
        let mut span = SpanBuilder::from_name(format!("process {SUBJECT}")).with_kind(SpanKind::Consumer);
        if linked.is_sampled() {
            span = span.with_links(vec![Link::with_context(linked)]);
        }
        let context = self.start(span, &parent, "process");
        async { assert_eq!(message.payload.len(), 100) }.with_context(context.clone()).await;
        end(&self.process, &context, started);
    }
}
