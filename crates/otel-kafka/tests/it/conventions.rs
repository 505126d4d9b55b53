//! All that is recorded with every option on is in the registry of the conventions, or listed in docs/conventions.md.

use otel_kafka::{FutureProducer, StreamConsumer};
use otel_operation::Outcome;
use otel_testing::Recorder;
use otel_testing::registry::assert_conventions;
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::producer::FutureRecord;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use crate::support::{Cluster, LONG, cluster, config, consumer, consumer_config, options, until, write};

const DOCUMENT: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/conventions.md"));

async fn messages(recorder: &Recorder) {
    let cluster = cluster(1);
    let options = options(recorder)
        .with_receive_spans(true)
        .with_message_age(true)
        .with_message_sizes(true)
        .with_client_id("till-3")
        .with_server("broker.example", 9092);
    let producer: FutureProducer = config(&cluster).set("message.max.bytes", "1000").create().unwrap();
    let producer = producer.with_options(options.clone());
    let too_large_with_context = "p".repeat(920);
    for payload in ["a", "b", "c", &too_large_with_context] {
        producer.send(FutureRecord::to("orders").key("k").payload(payload), LONG).await.unwrap();
    }
    // A tombstone, and one that the broker refuses.
    producer.send(FutureRecord::<str, str>::to("orders").key("k"), LONG).await.unwrap();
    let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    cluster.request_errors(RDKafkaApiKey::Produce, &[refused]);
    producer.send(FutureRecord::to("orders").key("k").payload("d"), LONG).await.unwrap_err();

    let unacknowledged: FutureProducer = config(&cluster).set("acks", "0").create().unwrap();
    let unacknowledged = unacknowledged.with_options(options.clone());
    unacknowledged.send(FutureRecord::to("orders").key("k").payload("e"), LONG).await.unwrap();

    let consumer = consumer(&cluster, options);
    let one = consumer.recv().await.unwrap();
    one.process(async |_| ()).await;
    let two = consumer.recv().await.unwrap();
    two.process(async |_| Err::<(), _>("refused".to_owned())).await.unwrap_err();
    consumer.commit_message(&two, CommitMode::Sync).unwrap();
    let batch = [consumer.recv().await.unwrap(), consumer.recv().await.unwrap()];
    consumer.processing_batch(&batch).finish(&Outcome::ok());
    consumer.recv().await.unwrap().process(async |_| ()).await;
}

/// Returns the consumer, because the lag is that of one that exists.
async fn rebalances(recorder: &Recorder) -> (StreamConsumer, Cluster) {
    let cluster = cluster(1);
    let mut config = consumer_config(&cluster);
    let consumer: StreamConsumer = config.set("statistics.interval.ms", "50").create().unwrap();
    let consumer = consumer.with_options(options(recorder).with_consumer_lag(true));
    consumer.subscribe(&["orders"]).unwrap();
    // Without a committed offset the lag is unknown.
    write(&cluster, &[("a", None)]).await;
    let message = consumer.recv().await.unwrap();
    consumer.commit_message(&message, CommitMode::Sync).unwrap();
    drop(message);
    tokio::select! {
        _ = consumer.recv() => panic!("there is no second message"),
        () = until("the lag", || !recorder.metric("messaging.kafka.consumer.lag").points().is_empty()) => {}
    }
    (consumer, cluster)
}

/// Returns the producer, because the queue time is that of its last two seconds.
async fn queue_time(recorder: &Recorder) -> (FutureProducer, Cluster) {
    let cluster = cluster(1);
    let producer: FutureProducer = config(&cluster).set("statistics.interval.ms", "2000").create().unwrap();
    let producer = producer.with_options(options(recorder).with_queue_time(true));
    producer.send(FutureRecord::to("orders").key("k").payload("a"), LONG).await.unwrap();
    let queue_time = || recorder.metric("messaging.kafka.producer.queue.time");
    until("the queue time", || !queue_time().points().is_empty()).await;
    (producer, cluster)
}

#[tokio::test]
async fn names_units_instruments_and_descriptions_are_the_registrys() {
    let recorder = Recorder::new();
    messages(&recorder).await;
    let _consumer = rebalances(&recorder).await;
    let _producer = queue_time(&recorder).await;
    recorder.wait_until_finished().await;
    let names = [
        "error.type",
        "messaging.batch.message_count",
        "messaging.client.id",
        "messaging.consumer.group.name",
        "messaging.destination.partition.id",
        "messaging.kafka.message.key",
        "messaging.kafka.message.tombstone",
        "messaging.kafka.offset",
        "messaging.message.body.size",
        "server.port",
    ];
    assert_conventions(&recorder, DOCUMENT, "otel-kafka", &names);
}
