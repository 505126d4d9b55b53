//! Names, units and attributes of the metrics.

use std::time::Instant;

use otel_kafka::{FutureProducer, Options, StreamConsumer, ThreadedProducer};
use otel_testing::Recorder;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, FutureRecord};

use crate::support::{LONG, client, cluster, config, consumer, consumer_config, options, until, write};

#[tokio::test]
async fn a_message_from_end_to_end() {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    let producer: FutureProducer = client(&cluster);
    let producer = producer.with_options(options(&recorder));
    producer.send(FutureRecord::to("orders").key("k").payload("a"), LONG).await.unwrap();
    let consumer = consumer(&cluster, options(&recorder));
    let message = consumer.recv().await.unwrap();
    message.process(async |_| ()).await;
    consumer.commit_message(&message, CommitMode::Sync).unwrap();
    let expected = "\
messaging.client.consumed.messages (counter, {message})
    {messaging.consumer.group.name=till, messaging.destination.name=orders, messaging.operation.name=poll, messaging.system=kafka} 1
messaging.client.operation.duration (histogram, s)
    {messaging.consumer.group.name=till, messaging.destination.name=orders, messaging.operation.name=commit, messaging.operation.type=settle, messaging.system=kafka} count 1, sum TIME
    {messaging.destination.name=orders, messaging.operation.name=send, messaging.operation.type=send, messaging.system=kafka} count 1, sum TIME
messaging.client.sent.messages (counter, {message})
    {messaging.destination.name=orders, messaging.operation.name=send, messaging.system=kafka} 1
messaging.process.duration (histogram, s)
    {messaging.consumer.group.name=till, messaging.destination.name=orders, messaging.operation.name=process, messaging.system=kafka} count 1, sum TIME
";
    assert_eq!(recorder.metrics(), expected);
}

#[tokio::test]
async fn the_group_is_on_every_operation_of_a_consumer() {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    write(&cluster, &[("a", None)]).await;
    let consumer = consumer(&cluster, options(&recorder));
    let message = consumer.recv().await.unwrap();
    message.process(async |_| ()).await;
    // Without a destination, too.
    consumer.commit_consumer_state(CommitMode::Sync).unwrap();
    consumer.commit_message(&message, CommitMode::Sync).unwrap();
    for metric in ["messaging.client.operation.duration", "messaging.process.duration"] {
        let all = recorder.metric(metric);
        let grouped = all.clone().with("messaging.consumer.group.name", "till");
        assert_eq!(grouped.count(), all.count(), "{metric}");
    }
    for span in recorder.spans() {
        let groups = span.attributes.iter().filter(|kv| kv.key.as_str() == "messaging.consumer.group.name");
        assert_eq!(groups.count(), 1, "{}", span.name);
    }
}

#[tokio::test]
async fn the_lag_of_a_partition_is_a_gauge_as_long_as_it_is_consumed() {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    write(&cluster, &[("a", None), ("b", None), ("c", None)]).await;
    let mut config = consumer_config(&cluster);
    let consumer: StreamConsumer = config.set("statistics.interval.ms", "50").create().unwrap();
    let consumer = consumer.with_options(options(&recorder).with_consumer_lag(true));
    let mut list = rdkafka::TopicPartitionList::new();
    list.add_partition_offset("orders", 0, rdkafka::Offset::Beginning).unwrap();
    consumer.assign(&list).unwrap();
    let message = consumer.recv().await.unwrap();
    consumer.commit_message(&message, CommitMode::Sync).unwrap();
    drop((message, consumer.recv().await, consumer.recv().await));
    let lag = || {
        let lag = recorder.metric("messaging.kafka.consumer.lag");
        let lag =
            lag.with("messaging.destination.name", "orders").with("messaging.consumer.group.name", "till");
        lag.with("messaging.destination.partition.id", "0")
    };
    // `recv` serves the statistics.
    tokio::select! {
        _ = consumer.recv() => panic!("there is no fourth message"),
        () = until("the lag", || lag().sum() == 2.0) => {}
    }
    consumer.unassign().unwrap();
    tokio::select! {
        _ = consumer.recv() => panic!("nothing is assigned"),
        () = until("the end of the lag", || lag().sum() == 0.0) => {}
    }
}

/// Checks the queue time of one record that waits 300 ms for others to join its request. `send` returns the producer.
async fn check_queue_time<P>(send: impl AsyncFnOnce(&ClientConfig, Options) -> P) {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    let mut config = config(&cluster);
    config.set("linger.ms", "300").set("statistics.interval.ms", "500");
    let begun = Instant::now();
    let _producer = send(&config, options(&recorder).with_queue_time(true)).await;
    let queue_time = || recorder.metric("messaging.kafka.producer.queue.time");
    until("the queue time", || !queue_time().points().is_empty()).await;
    let seconds = queue_time().with("messaging.system", "kafka").sum();
    assert!((0.3..begun.elapsed().as_secs_f64()).contains(&seconds), "{seconds}");
    until("an interval without records", || queue_time().points().is_empty()).await;
}

#[tokio::test]
async fn the_queue_time_of_a_producer_is_a_gauge_of_the_last_interval() {
    check_queue_time(async |config, options| {
        let producer: FutureProducer = config.create().unwrap();
        let producer = producer.with_options(options);
        producer.send(FutureRecord::to("orders").key("k").payload("a"), LONG).await.unwrap();
        producer
    })
    .await;
    check_queue_time(async |config, options| {
        let producer: ThreadedProducer<DefaultProducerContext> = config.create().unwrap();
        let producer = producer.with_options(options);
        producer.send(BaseRecord::to("orders").key("k").payload("a")).unwrap();
        producer
    })
    .await;
}
