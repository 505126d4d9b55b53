//! Transactions: spans of their operations, and the error type of aborted records.

use std::collections::BTreeSet;

use opentelemetry::trace::SpanKind;
use otel_kafka::{FutureProducer, ThreadedProducer};
use otel_testing::Recorder;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseRecord, FutureRecord, Producer as _};

use crate::support::{LONG, attribute, cluster, config, error_type, options};

#[tokio::test(flavor = "multi_thread")]
async fn each_operation_is_a_span_and_what_is_aborted_says_so() {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    let mut config = config(&cluster);
    let consumer: BaseConsumer = config.clone().set("group.id", "g").create().unwrap();
    config.set("transactional.id", "t").set("linger.ms", "5000");
    let producer: FutureProducer = config.create().unwrap();
    let producer = producer.with_options(options(&recorder));
    producer.init_transactions(LONG).unwrap();

    producer.begin_transaction().unwrap();
    let delivery = producer.send_result(FutureRecord::to("orders").key("").payload("p")).unwrap();
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset("orders", 0, rdkafka::Offset::Offset(1)).unwrap();
    let group = consumer.group_metadata().unwrap();
    producer.send_offsets_to_transaction(&offsets, &group, LONG).unwrap();
    producer.commit_transaction(LONG).unwrap();
    assert_eq!(delivery.await.unwrap().unwrap().offset, 0);

    producer.begin_transaction().unwrap();
    let delivery = producer.send_result(FutureRecord::to("orders").key("").payload("p")).unwrap();
    producer.abort_transaction(LONG).unwrap();
    let (error, _) = delivery.await.unwrap().unwrap_err();
    assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::PurgeQueue));

    let spans = recorder.spans();
    let mut told: Vec<_> = spans.iter().map(|span| (&*span.name, error_type(span))).collect();
    let sent: Vec<_> = told.extract_if(.., |(name, _)| *name == "send orders").collect();
    assert_eq!(sent, [("send orders", None), ("send orders", Some("aborted".to_owned()))]);
    let names: Vec<_> = told.iter().map(|(name, _)| *name).collect();
    let expected = [
        "init_transactions",
        "begin_transaction",
        "send_offsets_to_transaction orders",
        "commit_transaction",
        "begin_transaction",
        "abort_transaction",
    ];
    assert_eq!(names, expected);
    for span in spans.iter().filter(|span| span.name != "send orders") {
        assert_eq!(span.span_kind, SpanKind::Client);
        let settles = span.name.starts_with("send_offsets");
        assert_eq!(attribute(span, "messaging.operation.type").as_deref(), settles.then_some("settle"));
        assert_eq!(attribute(span, "messaging.operation.name").as_deref(), span.name.split(' ').next());
        assert_eq!(attribute(span, "messaging.kafka.offset").as_deref(), settles.then_some("1"));
    }
    // A negative offset is not recorded.
    let aborted = spans.iter().find(|span| error_type(span).is_some()).unwrap();
    assert_eq!(attribute(aborted, "messaging.kafka.offset"), None);
    recorder.assert_clean();
}

#[test]
fn each_record_of_an_aborted_transaction_says_so() {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    let mut config = config(&cluster);
    config.set("transactional.id", "t").set("linger.ms", "20000");
    let producer: ThreadedProducer = config.create().unwrap();
    let producer = producer.with_options(options(&recorder));
    producer.init_transactions(LONG).unwrap();
    for _ in 0..5 {
        producer.begin_transaction().unwrap();
        for _ in 0..2_000 {
            producer.send(BaseRecord::to("orders").key("k").payload("p").partition(0)).unwrap();
        }
        producer.abort_transaction(LONG).unwrap();
    }
    drop(producer);
    let spans = recorder.spans();
    let errors: Vec<_> = spans.iter().filter_map(error_type).collect();
    let others: BTreeSet<_> = errors.iter().filter(|error| *error != "aborted").collect();
    assert_eq!((errors.len(), others), (10_000, BTreeSet::new()));
    recorder.assert_clean();
}

#[test]
fn an_operation_that_fails_says_why() {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    let mut config = config(&cluster);
    let producer: FutureProducer = config.set("transactional.id", "t").create().unwrap();
    let producer = producer.with_options(options(&recorder));
    let error = producer.begin_transaction().unwrap_err();
    assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::State));
    assert_eq!(error_type(&recorder.span("begin_transaction")).as_deref(), Some("State"));
    recorder.assert_clean();
}
