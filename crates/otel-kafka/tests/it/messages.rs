//! Received messages: detached from their consumer, with many headers, without a timestamp.

use std::time::{Duration, Instant};

use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt as _;
use otel_kafka::Options;
use otel_testing::Recorder;
use rdkafka::consumer::Consumer as _;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Message as _, Offset, TopicPartitionList};

use crate::support::{
    LONG, attribute, client, cluster, consumer, consumer_config, headers, options, traceparent, value, write,
};

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

#[tokio::test]
async fn a_message_without_a_timestamp_has_no_age() {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    let producer: rdkafka::producer::FutureProducer = client(&cluster);
    // Kafka's value for no timestamp, and one from 1970.
    for timestamp in [-1, 1] {
        let record = FutureRecord::to("orders").key("k").payload("a").timestamp(timestamp);
        producer.send(record, LONG).await.unwrap();
    }
    let consumer = consumer(&cluster, options(&recorder).with_message_age(true));
    for timestamp in [None, Some(1)] {
        let message = consumer.recv().await.unwrap();
        assert_eq!(message.timestamp().to_millis(), timestamp);
        message.process(async |_| ()).await;
        message.detach().process(async |_| ()).await;
    }
    let ages: Vec<_> =
        recorder.spans().iter().map(|span| value(span, "messaging.message.age").is_some()).collect();
    assert_eq!(ages, [false, false, true, true]);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_batch_neither_counts_nor_links_messages_of_a_topic_that_is_left_out() {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    cluster.create_topic("secret", 1, 1).unwrap();
    let producer: FutureProducer = client(&cluster);
    let mut list = TopicPartitionList::new();
    for (id, topic) in [(7, "orders"), (8, "secret")] {
        let context = headers(&[("traceparent", &traceparent(id))]);
        let record = FutureRecord::to(topic).key("k").payload("p").headers(context);
        producer.send(record, LONG).await.unwrap();
        list.add_partition_offset(topic, 0, Offset::Beginning).unwrap();
    }
    let consumer: otel_kafka::StreamConsumer = consumer_config(&cluster).create().unwrap();
    consumer.assign(&list).unwrap();
    let consumer = consumer.with_options(options(&recorder).with_filter(|topic| topic != "secret"));
    let batch = [consumer.recv().await.unwrap(), consumer.recv().await.unwrap()];
    consumer.processing_batch(&batch).run(async {}).await;
    let span = recorder.span("process orders");
    let linked: Vec<_> = span.links.iter().map(|link| link.span_context.span_id()).collect();
    assert_eq!(linked, [7.into()]);
    assert_eq!(attribute(&span, "messaging.batch.message_count").as_deref(), Some("1"));
    assert_eq!(recorder.spans().len(), 1);
    recorder.assert_clean();
}
