//! Received messages: detached from their consumer, with many headers, without a timestamp.

use std::time::{Duration, Instant};

use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt as _;
use otel_kafka::Options;
use otel_testing::Recorder;
use rdkafka::Message as _;
use rdkafka::message::{Header, OwnedHeaders};

use crate::support::{attribute, cluster, consumer, headers, options, traceparent, write};

#[tokio::test]
async fn a_detached_message_is_processed_later_in_its_producers_trace() {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    write(&cluster, &[("a", Some(headers(&[("traceparent", &traceparent(7))])))]).await;
    let consumer = consumer(&cluster, options(&recorder).with_message_age(true));
    let owned = consumer.recv().await.unwrap().detach();
    drop(consumer);
    let processed = tokio::spawn(async move {
        owned
            .process(async |message| {
                assert!(Context::current().span().span_context().is_valid());
                Ok::<_, ()>(message.payload().unwrap().to_vec())
            })
            .await
    });
    assert_eq!(processed.await.unwrap(), Ok(b"a".to_vec()));
    let span = recorder.span("process orders");
    assert_eq!((span.parent_span_id, span.links[0].span_context.span_id()), (7.into(), 7.into()));
    assert_eq!(attribute(&span, "messaging.kafka.offset").as_deref(), Some("0"));
    assert_eq!(attribute(&span, "messaging.destination.partition.id").as_deref(), Some("0"));
    assert!(attribute(&span, "messaging.message.age").is_some());
    recorder.assert_clean();
}

#[tokio::test]
async fn nothing_is_parsed_where_nothing_is_installed() {
    let cluster = cluster(1);
    let many = (0..50_000).fold(OwnedHeaders::new_with_capacity(50_000), |headers, number: u32| {
        headers.insert(Header { key: &format!("{number:x}"), value: None::<&str> })
    });
    let list: Vec<_> = (0..5).map(|_| ("a", Some(many.clone()))).collect();
    write(&cluster, &list).await;
    let consumer = consumer(&cluster, Options::new());
    let (mut processing, mut parsing) = (Duration::MAX, Duration::MAX);
    for _ in 0..5 {
        let message = consumer.recv().await.unwrap();
        let begun = Instant::now();
        message.process(async |_| ()).await;
        processing = processing.min(begun.elapsed());
        // librdkafka parses all headers at the first call.
        let begun = Instant::now();
        assert!(message.headers().is_some());
        parsing = parsing.min(begun.elapsed());
    }
    assert!(processing * 5 < parsing, "{processing:?} {parsing:?}");
}
