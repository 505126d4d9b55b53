//! Global providers and propagator that are set after the client is created. A separate process, because the test sets
//! globals.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

// The settings of the server; the other helpers are for the tests in `it`.
#[expect(dead_code, unused_imports, reason = "shared with the tests in `it`")]
#[path = "it/support.rs"]
mod support;

use futures_util::StreamExt as _;
use otel_nats::Client;
use otel_propagation::CompositePropagator;
use otel_testing::Recorder;

use crate::support::{LONG, bare, synchronize, unique};

#[tokio::test]
async fn what_is_global_is_found_when_it_comes() {
    let (client, subject) = (Client::from(bare().await), unique("orders"));
    let mut subscriber = client.subscribe(subject.clone()).await.unwrap();
    synchronize(client.inner()).await;
    let mut send = async || {
        client.publish(subject.clone(), "p".into()).await.unwrap();
        let message = tokio::time::timeout(LONG, subscriber.next()).await.unwrap().unwrap();
        message.process(async |message| Ok::<_, ()>(message.headers.is_some())).await.unwrap()
    };
    assert!(!send().await);
    let recorder = Recorder::new();
    opentelemetry::global::set_tracer_provider(recorder.tracer_provider().clone());
    opentelemetry::global::set_meter_provider(recorder.meter_provider().clone());
    otel_propagation::set_global(CompositePropagator::default());
    assert!(send().await);
    let publish = recorder.span(&format!("publish {subject}"));
    assert_eq!(publish.instrumentation_scope.name(), "otel-nats");
    let process = recorder.span(&format!("process {subject}"));
    assert_eq!(process.parent_span_id, publish.span_context.span_id());
    assert_eq!(recorder.metric("messaging.client.sent.messages").sum(), 1.0);
    recorder.assert_clean();
}
