//! Committed and aborted transactions, with the consumer's offsets.

use otel_kafka::{FutureProducer, StreamConsumer};
use rdkafka::Message as _;
use rdkafka::consumer::Consumer as _;
use rdkafka::producer::{FutureRecord, Producer as _};
use rdkafka::{Offset, TopicPartitionList};

use crate::support::{LONG, config, error_type, member_of, options, recorder, setting, topic, unique};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_committed_arrives_and_what_is_aborted_says_so() {
    let (recorder, topic) = (recorder(), topic("transactions", 1, &[]).await);
    let brokers = setting("KAFKA_BROKERS");
    let mut config = config();
    config.set("transactional.id", unique("t"));
    let producer: FutureProducer = config.create().unwrap();
    let producer = producer.with_options(options(&recorder));
    producer.init_transactions(LONG).unwrap();
    let consumer: StreamConsumer =
        member_of(&brokers, &topic).set("isolation.level", "read_committed").create().unwrap();
    let consumer = consumer.with_options(options(&recorder));
    consumer.subscribe(&[&topic]).unwrap();
    let record = |payload| FutureRecord::<str, str>::to(&topic).payload(payload);

    producer.begin_transaction().unwrap();
    producer.send(record("delivered, then aborted"), LONG).await.unwrap();
    producer.abort_transaction(LONG).unwrap();

    producer.begin_transaction().unwrap();
    producer.send(record("committed"), LONG).await.unwrap();
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(&topic, 0, Offset::Offset(2)).unwrap();
    // The group has members, and the broker then accepts offsets only from one of them.
    let message = async { consumer.recv().await.unwrap().payload().unwrap().to_vec() };
    let member = async {
        crate::support::until("the group", || consumer.assignment().unwrap().count() == 1).await;
        let group = consumer.group_metadata().unwrap();
        producer.send_offsets_to_transaction(&offsets, &group, LONG).unwrap();
        producer.commit_transaction(LONG).unwrap();
    };
    let (payload, ()) = futures_util::join!(message, member);
    assert_eq!(payload, b"committed");

    let spans = recorder.spans();
    // The destination is removed from the names: the random topic, or the broker's address.
    let name = |name: &str| name.replace(&topic, "TOPIC").replace(&format!(" {brokers}"), "");
    let names: Vec<_> = spans.iter().map(|span| name(&span.name)).collect();
    let expected = [
        "init_transactions",
        "begin_transaction",
        "send TOPIC",
        "abort_transaction",
        "begin_transaction",
        "send TOPIC",
        "send_offsets_to_transaction TOPIC",
        "commit_transaction",
    ];
    assert_eq!(names, expected);
    assert!(spans.iter().all(|span| error_type(span).is_none()));

    // A second producer with the same transactional id fences the first one.
    let other: FutureProducer = config.create().unwrap();
    let other = other.with_options(options(&recorder));
    other.init_transactions(LONG).unwrap();
    producer.begin_transaction().unwrap();
    let (error, _) = producer.send(record("fenced"), LONG).await.unwrap_err();
    let code = format!("{:?}", error.rdkafka_error_code().unwrap());
    let told = recorder.spans().iter().rev().find_map(error_type);
    assert_eq!(told, Some(code));
    recorder.assert_clean();
}
