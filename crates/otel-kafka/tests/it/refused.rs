//! Records that the client or the broker rejects: the error is recorded, and the record is returned unchanged.

use std::time::Duration;

use opentelemetry::trace::FutureExt as _;
use otel_kafka::{BaseProducer, FutureProducer};
use otel_testing::Recorder;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Message as _, OwnedHeaders, ToBytes as _};
use rdkafka::producer::{BaseRecord, FutureRecord, Producer as _, PurgeConfig};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use crate::support::{
    LONG, client, cluster, config, error_type, headers, listed, messages, options, remote, sent,
};

fn code(error: &KafkaError) -> RDKafkaErrorCode {
    error.rdkafka_error_code().unwrap()
}

fn shown(headers: Option<&OwnedHeaders>) -> Vec<(String, Vec<u8>)> {
    listed(headers.map(OwnedHeaders::as_borrowed))
}

/// The original headers of these tests: one that injection replaces, and one that stays.
fn own() -> OwnedHeaders {
    headers(&[("traceparent", "nonsense"), ("a", "1")])
}

#[tokio::test]
async fn a_record_that_only_our_headers_make_too_large_goes_out_bare() {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    let producer: FutureProducer = config(&cluster).set("message.max.bytes", "1000").create().unwrap();
    let producer = producer.with_options(options(&recorder));
    let payload = "p".repeat(920);
    let record = FutureRecord::to("orders").key("k").payload(&payload).headers(headers(&[("a", "1")]));
    producer.send(record, LONG).with_context(remote(7, true)).await.unwrap();
    assert_eq!(sent(&cluster), [("a".to_owned(), b"1".to_vec())]);
    assert_eq!(recorder.metric("messaging.kafka.context.left_out").sum(), 1.0);
    assert_eq!(error_type(&recorder.span("send orders")), None);

    // A record that is too large without injected headers is rejected and not counted.
    let payload = "p".repeat(1100);
    let record = FutureRecord::to("orders").key("k").payload(&payload).headers(own());
    let (error, message) = producer.send(record, LONG).await.unwrap_err();
    assert_eq!(code(&error), RDKafkaErrorCode::MessageSizeTooLarge);
    assert_eq!(shown(message.headers()), shown(Some(&own())));
    assert_eq!(recorder.metric("messaging.kafka.context.left_out").sum(), 1.0);
    assert_eq!(error_type(&recorder.spans()[1]).as_deref(), Some("MessageSizeTooLarge"));
    recorder.assert_clean();
}

#[tokio::test]
async fn a_record_that_goes_out_bare_after_waiting_for_room_is_counted() {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    let mut config = config(&cluster);
    config.set("message.max.bytes", "1000").set("queue.buffering.max.messages", "1").set("linger.ms", "500");
    let producer: FutureProducer = config.create().unwrap();
    let producer = producer.with_options(options(&recorder));
    let _first = producer.send_result(FutureRecord::to("orders").key("k").payload("p")).unwrap();
    let payload = "p".repeat(920);
    let record = FutureRecord::to("orders").key("k").payload(&payload).headers(headers(&[("a", "1")]));
    producer.send(record, LONG).await.unwrap();
    let seen = messages(&cluster, 0, 2, |message| listed(message.headers()));
    assert_eq!(seen[1], [("a".to_owned(), b"1".to_vec())]);
    assert_eq!(recorder.metric("messaging.kafka.context.left_out").sum(), 1.0);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_record_that_the_broker_finds_too_large_is_sent_again_bare() {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    let producer: FutureProducer = client(&cluster);
    let producer = producer.with_options(options(&recorder));
    let too_large = RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
    cluster.request_errors(RDKafkaApiKey::Produce, &[too_large]);
    let record = FutureRecord::to("orders").key("k").payload("p").headers(own()).timestamp(17);
    producer.send(record, LONG).await.unwrap();
    let received = messages(&cluster, 0, 1, |message| {
        let parts = (message.key().map(<[u8]>::to_vec), message.payload().map(<[u8]>::to_vec));
        (listed(message.headers()), parts, message.timestamp().to_millis())
    });
    let parts = (Some(b"k".to_vec()), Some(b"p".to_vec()));
    assert_eq!(received, [(shown(Some(&own())), parts, Some(17))]);
    assert_eq!(recorder.metric("messaging.kafka.context.left_out").sum(), 1.0);
    assert_eq!(error_type(&recorder.span("send orders")), None);

    // Too large without injected headers too.
    cluster.request_errors(RDKafkaApiKey::Produce, &[too_large, too_large]);
    let record = FutureRecord::to("orders").key("k").payload("p").headers(own());
    let (error, message) = producer.send(record, LONG).await.unwrap_err();
    assert_eq!(code(&error), RDKafkaErrorCode::MessageSizeTooLarge);
    assert_eq!(shown(message.headers()), shown(Some(&own())));
    assert_eq!(error_type(&recorder.spans()[1]).as_deref(), Some("MessageSizeTooLarge"));
    recorder.assert_clean();
}

#[tokio::test]
async fn an_error_of_the_brokers_is_told_and_the_record_comes_back_as_it_was() {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    let producer: FutureProducer = client(&cluster);
    let producer = producer.with_options(options(&recorder));
    for own in [None, Some(OwnedHeaders::new()), Some(headers(&[("a", "1")])), Some(own())] {
        let error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
        cluster.request_errors(RDKafkaApiKey::Produce, &[error]);
        let mut record = FutureRecord::to("orders").key("k").payload("p");
        record.headers = own.clone();
        let (error, message) = producer.send(record, LONG).await.unwrap_err();
        assert_eq!(code(&error), RDKafkaErrorCode::TopicAuthorizationFailed);
        assert_eq!(shown(message.headers()), shown(own.as_ref()));
        assert_eq!((message.key(), message.payload()), (Some("k".to_bytes()), Some("p".to_bytes())));
    }
    for span in recorder.spans() {
        assert_eq!(error_type(&span).as_deref(), Some("TopicAuthorizationFailed"));
    }
    let failed = recorder.metric("messaging.client.sent.messages");
    assert_eq!(failed.with("error.type", "TopicAuthorizationFailed").sum(), 4.0);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_message_that_times_out_says_so() {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    let producer: FutureProducer = config(&cluster).set("message.timeout.ms", "300").create().unwrap();
    let producer = producer.with_options(options(&recorder));
    cluster.broker_down(1).unwrap();
    let record = FutureRecord::to("orders").key("k").payload("p");
    let (error, _) = producer.send(record, LONG).await.unwrap_err();
    assert_eq!(code(&error), RDKafkaErrorCode::MessageTimedOut);
    assert_eq!(error_type(&recorder.span("send orders")).as_deref(), Some("MessageTimedOut"));
    recorder.assert_clean();
}

#[test]
fn a_full_queue_and_a_purge_say_so() {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    let mut config = config(&cluster);
    config.set("queue.buffering.max.messages", "1").set("linger.ms", "60000");
    let producer: BaseProducer = config.create().unwrap();
    let producer = producer.with_options(options(&recorder));
    producer.send(BaseRecord::to("orders").key("").payload("p")).unwrap();
    let (error, record) =
        producer.send(BaseRecord::to("orders").key("").payload("p").headers(own())).unwrap_err();
    assert_eq!(code(&error), RDKafkaErrorCode::QueueFull);
    assert_eq!(shown(record.headers.as_ref()), shown(Some(&own())));
    assert_eq!(error_type(&recorder.span("send orders")).as_deref(), Some("QueueFull"));

    // The same record can be sent when there is room, and its span does not link to the first attempt.
    producer.purge(PurgeConfig::default().queue().inflight());
    producer.poll(LONG.min(Duration::from_secs(1)));
    assert_eq!(error_type(&recorder.spans()[1]).as_deref(), Some("PurgeQueue"));
    producer.send(record).unwrap();
    drop(producer);
    let spans = recorder.spans();
    assert_eq!(spans.len(), 3, "dropping the producer ends what is left\n{}", recorder.tree());
    assert_eq!((error_type(&spans[2]).as_deref(), spans[2].links.len()), (Some("PurgeQueue"), 0));
    recorder.assert_clean();
}

#[tokio::test]
async fn a_queue_that_stays_full_is_given_up_at_its_time() {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    let mut config = config(&cluster);
    config.set("queue.buffering.max.messages", "1").set("linger.ms", "60000");
    let producer: FutureProducer = config.create().unwrap();
    let producer = producer.with_options(options(&recorder));
    let _kept = producer.send_result(FutureRecord::to("orders").key("").payload("p")).unwrap();
    let record = || FutureRecord::to("orders").key("k").payload("p").headers(own());
    for timeout in [Duration::ZERO, Duration::from_millis(200)] {
        let (error, message) = producer.send(record(), timeout).await.unwrap_err();
        assert_eq!(code(&error), RDKafkaErrorCode::QueueFull);
        assert_eq!(shown(message.headers()), shown(Some(&own())));
    }
    let (error, record) = producer.send_result(record()).unwrap_err();
    assert_eq!(code(&error), RDKafkaErrorCode::QueueFull);
    assert_eq!(shown(record.headers.as_ref()), shown(Some(&own())));
    let spans = recorder.spans();
    assert_eq!(spans.len(), 3);
    assert!(spans.iter().all(|span| error_type(span).as_deref() == Some("QueueFull")));
    drop(producer);
    recorder.wait_for_spans(4).await;
    recorder.assert_clean();
}

#[tokio::test]
async fn a_topic_that_cannot_be_is_an_error_of_the_callers() {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    let producer: FutureProducer = client(&cluster);
    let producer = producer.with_options(options(&recorder));
    let (error, _) = producer.send(FutureRecord::to("a\0b").key("").payload(""), LONG).await.unwrap_err();
    assert!(matches!(error, KafkaError::Nul(_)));
    let partition = FutureRecord::to("orders").key("").payload("").partition(77);
    let (error, _) = producer.send(partition, LONG).await.unwrap_err();
    assert_eq!(code(&error), RDKafkaErrorCode::UnknownPartition);
    let errors: Vec<_> = recorder.spans().iter().filter_map(error_type).collect();
    assert_eq!(errors, ["Nul", "UnknownPartition"]);
    recorder.assert_clean();
}
