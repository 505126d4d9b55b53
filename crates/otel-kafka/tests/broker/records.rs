//! Records that are delivered, and records that the broker rejects.

use opentelemetry::trace::SpanKind;
use otel_kafka::{FutureProducer, StreamConsumer};
use rdkafka::Message as _;
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{Header, Headers as _, OwnedHeaders};
use rdkafka::producer::FutureRecord;

use crate::support::{LONG, attribute, config, error_type, member_of, options, recorder, setting, topic};

#[tokio::test]
async fn a_message_from_end_to_end_is_one_trace() {
    let (recorder, topic) = (recorder(), topic("trace", 1, &[]).await);
    let producer: FutureProducer = config().create().unwrap();
    let producer = producer.with_options(options(&recorder));
    let consumer: StreamConsumer = member_of(&setting("KAFKA_BROKERS"), &topic).create().unwrap();
    let consumer = consumer.with_options(options(&recorder));
    consumer.subscribe(&[&topic]).unwrap();

    let record = FutureRecord::to(&topic).key("k").payload("one book");
    let delivery = producer.send(record, LONG).await.unwrap();
    assert_eq!((delivery.partition, delivery.offset), (0, 0));
    let message = consumer.recv().await.unwrap();
    let payload = message.process(async |message| Ok::<_, ()>(message.payload().unwrap().to_vec())).await;
    assert_eq!(payload, Ok(b"one book".to_vec()));
    consumer.commit_message(&message, CommitMode::Sync).unwrap();

    let [send, process, commit] =
        ["send", "process", "commit"].map(|name| recorder.span(&format!("{name} {topic}")));
    assert_eq!(process.parent_span_id, send.span_context.span_id());
    assert_eq!(process.links[0].span_context.span_id(), send.span_context.span_id());
    assert_eq!(commit.links[0].span_context.span_id(), send.span_context.span_id());
    for span in [&send, &process, &commit] {
        assert_eq!(attribute(span, "messaging.kafka.offset").as_deref(), Some("0"));
        assert_eq!(attribute(span, "messaging.destination.partition.id").as_deref(), Some("0"));
        assert_eq!(error_type(span), None);
    }
    assert_eq!([send.span_kind, process.span_kind], [SpanKind::Producer, SpanKind::Consumer]);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_record_that_our_headers_make_too_large_for_its_topic_arrives_bare() {
    let recorder = recorder();
    let topic = topic("small", 1, &[("max.message.bytes", "1000")]).await;
    let producer: FutureProducer = config().create().unwrap();
    let producer = producer.with_options(options(&recorder));
    let bare: rdkafka::producer::FutureProducer = config().create().unwrap();
    let own = || OwnedHeaders::new().insert(Header { key: "a", value: Some("1") });

    // The largest payload that is delivered without instrumentation, determined by sending.
    let mut size = 1000;
    let payload = loop {
        let payload = "p".repeat(size);
        let record = FutureRecord::<str, _>::to(&topic).payload(&payload).headers(own());
        match bare.send(record, LONG).await {
            Ok(_) => break payload,
            Err((error, _)) => {
                assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::MessageSizeTooLarge));
                size -= 10;
            }
        }
    };
    let record = FutureRecord::<str, _>::to(&topic).payload(&payload).headers(own());
    let delivery = producer.send(record, LONG).await.unwrap();
    assert_eq!(delivery.offset, 1);
    assert_eq!(recorder.metric("messaging.kafka.context.left_out").sum(), 1.0);
    assert_eq!(error_type(&recorder.span(&format!("send {topic}"))), None);

    let consumer: StreamConsumer = member_of(&setting("KAFKA_BROKERS"), &topic).create().unwrap();
    let consumer = consumer.with_options(options(&recorder));
    consumer.subscribe(&[&topic]).unwrap();
    for _ in 0..2 {
        let message = consumer.recv().await.unwrap();
        assert_eq!(message.payload(), Some(payload.as_bytes()));
        assert_eq!(message.headers().unwrap().count(), 1);
    }

    // A record that is too large by itself is rejected, and returned with its original headers.
    let payload = "p".repeat(1100);
    let record = FutureRecord::<str, _>::to(&topic).payload(&payload).headers(own());
    let (error, message) = producer.send(record, LONG).await.unwrap_err();
    assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::MessageSizeTooLarge));
    assert_eq!(message.headers().unwrap().count(), 1);
    recorder.assert_clean();
}
