//! Producers without an SDK, with one that was shut down, and with nothing installed.

use opentelemetry::Context;
use opentelemetry::trace::FutureExt as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use otel_kafka::{FutureProducer, Options};
use otel_propagation::CompositePropagator;
use rdkafka::producer::FutureRecord;

use crate::support::{LONG, client, cluster, headers, remote, sent, text, traceparent};

/// Headers of an earlier hop, and one of the application.
fn forwarded() -> rdkafka::message::OwnedHeaders {
    let traceparent = traceparent(9);
    headers(&[("traceparent", &traceparent), ("tracestate", "a=1"), ("baggage", "k=v"), ("x", "1")])
}

/// Sends a forwarded record within `current`, and asserts that its headers are unchanged.
async fn assert_unchanged(options: Options, current: Context) {
    let cluster = cluster(1);
    let producer: FutureProducer = client(&cluster);
    let producer = producer.with_options(options);
    let record = FutureRecord::to("orders").key("k").payload("p").headers(forwarded());
    producer.send(record, LONG).with_context(current).await.unwrap();
    assert_eq!(sent(&cluster), crate::support::listed(Some(forwarded().as_borrowed())));
}

#[tokio::test]
async fn without_an_sdk_a_forwarded_record_keeps_its_context() {
    let options = Options::new().with_propagator(CompositePropagator::default());
    assert_unchanged(options.clone(), Context::new()).await;
    assert_unchanged(options, remote(7, true)).await;
}

#[tokio::test]
async fn after_shutdown_a_forwarded_record_keeps_its_context() {
    let provider = SdkTracerProvider::builder().build();
    let options =
        Options::new().with_tracer_provider(&provider).with_propagator(CompositePropagator::default());
    provider.shutdown().unwrap();
    assert_unchanged(options.clone(), Context::new()).await;
    assert_unchanged(options, remote(7, true)).await;
}

#[tokio::test]
async fn without_an_sdk_a_record_without_context_gets_the_current_one() {
    let cluster = cluster(1);
    let producer: FutureProducer = client(&cluster);
    let producer = producer.with_options(Options::new().with_propagator(CompositePropagator::default()));
    let record = FutureRecord::to("orders").key("k").payload("p");
    producer.send(record, LONG).with_context(remote(7, true)).await.unwrap();
    assert_eq!(text(&sent(&cluster), "traceparent"), Some(&*traceparent(7)));
}

#[tokio::test]
async fn with_nothing_installed_a_record_is_sent_as_it_is() {
    assert_unchanged(Options::new(), remote(7, true)).await;
    let cluster = cluster(1);
    let producer: FutureProducer = client(&cluster);
    let record = FutureRecord::to("orders").key("k").payload("p");
    producer.send(record, LONG).with_context(remote(7, true)).await.unwrap();
    assert_eq!(sent(&cluster), []);
}
