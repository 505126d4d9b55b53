//! Commits and stored offsets.

use opentelemetry::trace::SpanKind;
use otel_kafka::{ConsumerContext, StreamConsumer};
use otel_testing::Recorder;
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use crate::support::{
    LONG, attribute, cluster, consumer, consumer_config, error_type, headers, options, traceparent, until,
    write,
};

#[tokio::test]
async fn each_commit_is_a_span() {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    write(&cluster, &[("a", Some(headers(&[("traceparent", &traceparent(7))]))), ("b", None)]).await;
    let consumer = consumer(&cluster, options(&recorder));
    let message = consumer.recv().await.unwrap();
    consumer.commit_message(&message, CommitMode::Sync).unwrap();
    let expected = r#"CLIENT commit orders
    messaging.consumer.group.name: till
    messaging.destination.name: orders
    messaging.destination.partition.id: "0"
    messaging.kafka.offset: 0
    messaging.operation.name: commit
    messaging.operation.type: settle
    messaging.system: kafka
    link → remote 0000…0007/0000…0007
"#;
    assert_eq!(recorder.tree(), expected);

    drop(message);
    let message = consumer.recv().await.unwrap();
    consumer.commit_consumer_state(CommitMode::Sync).unwrap();
    consumer.commit_message(&message, CommitMode::Async).unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset("orders", 0, Offset::Offset(1)).unwrap();
    consumer.commit(&list, CommitMode::Sync).unwrap();
    let committed = consumer.committed(LONG).unwrap();
    assert_eq!(committed.find_partition("orders", 0).unwrap().offset(), Offset::Offset(1));
    let spans = recorder.spans();
    let names: Vec<_> = spans.iter().map(|span| &*span.name).collect();
    assert_eq!(names, ["commit orders", "commit", "commit orders", "commit orders"]);
    assert_eq!(attribute(&spans[1], "messaging.consumer.group.name").as_deref(), Some("till"));
    assert!(spans.iter().all(|span| span.span_kind == SpanKind::Client && error_type(span).is_none()));

    // rdkafka does not call back for an explicit commit; if it did, a further span would be recorded. The values are
    // dropped first because they hold the consumer, which waits for them when it is dropped.
    drop((message, list, committed));
    drop(consumer);
    assert_eq!(recorder.spans().len(), 4);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_commit_that_fails_says_why() {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    write(&cluster, &[("a", None)]).await;
    let consumer = consumer(&cluster, options(&recorder));
    let message = consumer.recv().await.unwrap();
    let error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    cluster.request_errors(RDKafkaApiKey::OffsetCommit, &[error]);
    let error = consumer.commit_message(&message, CommitMode::Sync).unwrap_err();
    assert_eq!(error, KafkaError::ConsumerCommit(RDKafkaErrorCode::TopicAuthorizationFailed));
    let told = error_type(&recorder.span("commit orders"));
    assert_eq!(told.as_deref(), Some("TopicAuthorizationFailed"));
    let durations = recorder.metric("messaging.client.operation.duration");
    assert_eq!(durations.with("error.type", "TopicAuthorizationFailed").count(), 1);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_stored_offset_is_settled_when_it_is_stored_and_when_it_is_committed() {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    write(&cluster, &[("a", None)]).await;
    let mut config = consumer_config(&cluster);
    config.set("enable.auto.commit", "true").set("enable.auto.offset.store", "false");
    config.set("auto.commit.interval.ms", "50");
    let consumer: StreamConsumer = config.create().unwrap();
    let consumer = consumer.with_options(options(&recorder).with_stored_offset_spans(true));
    consumer.subscribe(&["orders"]).unwrap();
    let message = consumer.recv().await.unwrap();
    consumer.store_offset_from_message(&message).unwrap();
    consumer.store_offset("orders", 0, 0).unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset("orders", 0, Offset::Offset(1)).unwrap();
    consumer.store_offsets(&list).unwrap();
    assert!(consumer.store_offset("elsewhere", 0, 0).is_err());
    // Stored offsets are committed automatically, and `recv` serves the event.
    let committed = until("the commit", || recorder.spans().len() == 5);
    tokio::select! {
        message = consumer.recv() => panic!("{message:?}"),
        () = committed => {}
    }
    let spans = recorder.spans();
    let told: Vec<_> = spans
        .iter()
        .map(|span| (&*span.name, attribute(span, "messaging.kafka.offset"), error_type(span)))
        .collect();
    let at = |offset: i64| Some(offset.to_string());
    assert_eq!(
        told,
        [
            ("store_offset orders", at(0), None),
            ("store_offset orders", at(0), None),
            ("store_offset orders", at(1), None),
            ("store_offset elsewhere", at(0), Some("UnknownPartition".to_owned())),
            ("commit orders", at(1), None),
        ]
    );
    recorder.assert_clean();
}

#[tokio::test]
async fn a_stored_offset_is_no_span_by_default() {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    write(&cluster, &[("a", None)]).await;
    let mut config = consumer_config(&cluster);
    config.set("enable.auto.offset.store", "false");
    let consumer: StreamConsumer = config.create().unwrap();
    let consumer = consumer.with_options(options(&recorder));
    let mut list = TopicPartitionList::new();
    list.add_partition_offset("orders", 0, Offset::Beginning).unwrap();
    consumer.assign(&list).unwrap();
    let message = consumer.recv().await.unwrap();
    consumer.store_offset_from_message(&message).unwrap();
    consumer.store_offset("orders", 0, 0).unwrap();
    assert!(consumer.store_offset("elsewhere", 0, 0).is_err());
    assert_eq!(recorder.spans().len(), 0);
    assert_eq!(recorder.metric("messaging.client.operation.duration").count(), 0);
    // They are stored all the same.
    consumer.commit_consumer_state(CommitMode::Sync).unwrap();
    let committed = consumer.committed(LONG).unwrap();
    assert_eq!(committed.find_partition("orders", 0).unwrap().offset(), Offset::Offset(1));
}

/// A user's context, which is still called.
struct Mine(std::sync::mpsc::Sender<KafkaResult<()>>);

impl ClientContext for Mine {}

impl ConsumerContext for Mine {
    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        self.0.send(result).unwrap();
    }
}

#[tokio::test]
async fn an_automatic_commit_is_a_span_and_the_users_context_hears_of_it() {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    write(&cluster, &[("a", None)]).await;
    let (sender, told) = std::sync::mpsc::channel();
    let mut config = consumer_config(&cluster);
    config.set("enable.auto.commit", "true").set("auto.commit.interval.ms", "50");
    let consumer: StreamConsumer<Mine> = config.create_with_context(Mine(sender)).unwrap();
    let consumer = consumer.with_options(options(&recorder));
    consumer.subscribe(&["orders"]).unwrap();
    drop(consumer.recv().await.unwrap());
    // `recv` serves the event.
    let recorded = until("the commit", || !recorder.spans().is_empty());
    tokio::select! {
        _ = consumer.recv() => panic!("there is no second message"),
        () = recorded => {}
    }
    let span = recorder.span("commit orders");
    assert_eq!(attribute(&span, "messaging.kafka.offset").as_deref(), Some("1"));
    assert_eq!(told.recv().unwrap(), Ok(()));
    assert_eq!(error_type(&span), None);
}
