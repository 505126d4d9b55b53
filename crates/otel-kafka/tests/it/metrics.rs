//! Names, units and attributes of the metrics.

use otel_kafka::FutureProducer;
use otel_testing::Recorder;
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::producer::FutureRecord;

use crate::support::{LONG, client, cluster, consumer, options};

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
