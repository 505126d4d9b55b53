//! A minimal handwritten instrumentation with the SDK: a span with five attributes, and a bound metric. Drops, panics and
//! errors are not handled, and the command has one name.

use std::time::Instant;

use opentelemetry::global::{self, BoxedTracer};
use opentelemetry::metrics::BoundHistogram;
use opentelemetry::trace::{FutureExt as _, SpanBuilder, SpanKind, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue};
use redis::aio::ConnectionLike;
use redis::{Cmd, Pipeline, RedisFuture, Value};

/// A connection with handwritten instrumentation.
pub(crate) struct Floor<C> {
    connection: C,
    tracer: BoxedTracer,
    duration: BoundHistogram<f64>,
}

fn common() -> Vec<KeyValue> {
    vec![
        KeyValue::new("db.system.name", "redis"),
        KeyValue::new("db.operation.name", "SET"),
        KeyValue::new("db.namespace", "0"),
        KeyValue::new("server.address", "cache.example"),
    ]
}

impl<C> Floor<C> {
    pub(crate) fn new(connection: C) -> Self {
        let duration = global::meter("floor").f64_histogram("db.client.operation.duration").build();
        Self { connection, tracer: global::tracer("floor"), duration: duration.bind(&common()) }
    }
}

impl<C: ConnectionLike + Send> ConnectionLike for Floor<C> {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        let parent = Context::current();
        let mut span = SpanBuilder::from_name("SET cache.example").with_kind(SpanKind::Client);
        if parent.span().span_context().is_sampled() {
            let mut attributes = common();
            attributes.push(KeyValue::new("db.query.text", "SET ? ?"));
            span = span.with_attributes(attributes);
        }
        let context = parent.with_span(self.tracer.build_with_context(span, &parent));
        let started = Instant::now();
        let Self { connection, duration, .. } = self;
        Box::pin(async move {
            let reply = connection.req_packed_command(command).with_context(context.clone()).await;
            duration.record(started.elapsed().as_secs_f64());
            context.span().end();
            reply
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        self.connection.req_packed_commands(pipeline, offset, count)
    }

    fn get_db(&self) -> i64 {
        0
    }
}
