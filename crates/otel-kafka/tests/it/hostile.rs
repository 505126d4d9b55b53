//! Hostile messages: none prevents the consumer from receiving the next one.

use otel_kafka::BaseConsumer;
use otel_testing::Recorder;
use rdkafka::Message as _;
use rdkafka::consumer::Consumer as _;
use rdkafka::message::{Header, OwnedHeaders};

use crate::support::{
    LONG, attribute, cluster, consumer, consumer_config, headers, next, options, traceparent, write,
};

/// Returns headers of which one has a name that is not UTF-8. rdkafka passes the name to librdkafka by address and
/// length.
#[expect(unsafe_code, reason = "no safe code can write such a name, and strangers can")]
fn not_utf_8() -> OwnedHeaders {
    let name = vec![0xff, 0xfe, 0xfd];
    // SAFETY: the bytes are passed to librdkafka without being read as text.
    let key = unsafe { std::str::from_utf8_unchecked(&name) };
    headers(&[("traceparent", &traceparent(7))]).insert(Header { key, value: Some("v") })
}

#[tokio::test]
async fn a_header_name_that_is_not_utf_8_harms_nobody() {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    write(&cluster, &[("hostile", Some(not_utf_8())), ("next", None)]).await;
    let consumer = consumer(&cluster, options(&recorder).with_receive_spans(true));
    let mut payloads = Vec::new();
    for _ in 0..2 {
        let message = consumer.recv().await.unwrap();
        message.process(async |message| payloads.push(message.payload().unwrap().to_vec())).await;
        consumer.commit_message(&message, rdkafka::consumer::CommitMode::Sync).unwrap();
    }
    assert_eq!(payloads, [b"hostile".to_vec(), b"next".to_vec()]);
    let span = &recorder.spans()[1];
    assert_eq!(span.parent_span_id, 7.into(), "its good header is read\n{}", recorder.tree());
    recorder.assert_clean();
}

#[tokio::test]
async fn a_hostile_message_is_forwarded_as_it_is() {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    let producer: otel_kafka::FutureProducer = crate::support::client(&cluster);
    let producer = producer.with_options(options(&recorder));
    let record = rdkafka::producer::FutureRecord::to("orders").key("k").payload("p").headers(not_utf_8());
    producer.send(record, LONG).await.unwrap();
    assert_eq!(recorder.span("send orders").links[0].span_context.span_id(), 7.into());
    let consumer: BaseConsumer = consumer_config(&cluster).create().unwrap();
    let consumer = consumer.with_options(options(&recorder));
    consumer.subscribe(&["orders"]).unwrap();
    let message = next(&consumer);
    // rdkafka's `Debug` output contains only pointers; `detach` copies the headers.
    assert!(format!("{message:?}").contains("Message"));
    let detached = message.detach();
    assert_eq!(rdkafka::message::Headers::count(detached.headers().unwrap()), 2);
    message.processing().finish(&otel_operation::Outcome::ok());
    recorder.assert_clean();
}

#[tokio::test]
async fn what_is_huge_is_bounded() {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    let long = "v".repeat(100_000);
    let key = "k".repeat(5_000);
    let all = headers(&[("traceparent", &long), ("tracestate", &long), ("baggage", &long), (&long, &long)]);
    let producer: rdkafka::producer::FutureProducer = crate::support::client(&cluster);
    let record = rdkafka::producer::FutureRecord::to("orders").key(&key).payload("p").headers(all);
    producer.send(record, LONG).await.unwrap();
    let consumer = consumer(&cluster, options(&recorder));
    consumer.recv().await.unwrap().process(async |_| ()).await;
    let span = recorder.span("process orders");
    assert_eq!(attribute(&span, "messaging.kafka.message.key").unwrap().len(), 512);
    assert_eq!((span.links.len(), span.parent_span_id), (0, opentelemetry::SpanId::INVALID));
    recorder.assert_clean();
}
