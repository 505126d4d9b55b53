//! Global providers and propagator that are set after the connection is created. A separate process, because the test sets
//! globals.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

// The address of the broker; the other helpers are for the tests in `it`.
#[expect(dead_code, unused_imports, reason = "shared with the tests in `it`")]
#[path = "it/support.rs"]
mod support;

use lapin::BasicProperties;
use otel_amqp::Options;
use otel_propagation::CompositePropagator;
use otel_testing::Recorder;

use crate::support::{channel_with, consume, queue, received, send};

#[tokio::test]
async fn what_is_global_is_found_when_it_comes() {
    let channel = channel_with(Options::new()).await;
    let queue = queue(&channel, "jobs").await;
    let mut consumer = consume(&channel, &queue).await;
    let mut carried = async || {
        send(&channel, &queue, BasicProperties::default()).await;
        let delivery = received(&mut consumer).await;
        delivery.process(async |delivery| Ok::<_, ()>(delivery.properties.headers().is_some())).await.unwrap()
    };
    assert!(!carried().await);
    let recorder = Recorder::new();
    opentelemetry::global::set_tracer_provider(recorder.tracer_provider().clone());
    opentelemetry::global::set_meter_provider(recorder.meter_provider().clone());
    otel_propagation::set_global(CompositePropagator::default());
    assert!(carried().await);
    let [publish, process] = ["publish", "process"].map(|name| recorder.span(&format!("{name} {queue}")));
    assert_eq!(publish.instrumentation_scope.name(), "otel-amqp");
    assert_eq!(process.parent_span_id, publish.span_context.span_id());
    assert_eq!(recorder.metric("messaging.client.sent.messages").sum(), 1.0);
    recorder.assert_clean();
}
