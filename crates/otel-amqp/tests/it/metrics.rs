//! Names, units and attributes of the metrics.

use lapin::BasicProperties;
use lapin::options::BasicAckOptions;
use otel_testing::Recorder;

use crate::support::{bare, channel, consume, headers, queue, received, send, write};

#[tokio::test]
async fn a_message_from_end_to_end() {
    let recorder = Recorder::new();
    let channel = channel(&recorder).await;
    let queue = queue(&channel, "jobs").await;
    let mut consumer = consume(&channel, &queue).await;
    send(&channel, &queue, BasicProperties::default()).await;
    let delivery = received(&mut consumer).await;
    delivery.process(async |_| ()).await;
    delivery.ack(BasicAckOptions::default()).await.unwrap();
    let expected = "\
messaging.client.consumed.messages (counter, {message})
    {messaging.destination.template=jobs, messaging.operation.name=consume, messaging.system=rabbitmq} 1
messaging.client.operation.duration (histogram, s)
    {messaging.destination.name=jobs, messaging.operation.name=publish, messaging.operation.type=send, messaging.system=rabbitmq} count 1, sum TIME
    {messaging.destination.template=jobs, messaging.operation.name=ack, messaging.operation.type=settle, messaging.system=rabbitmq} count 1, sum TIME
messaging.client.sent.messages (counter, {message})
    {messaging.destination.name=jobs, messaging.operation.name=publish, messaging.system=rabbitmq} 1
messaging.process.duration (histogram, s)
    {messaging.destination.template=jobs, messaging.operation.name=process, messaging.system=rabbitmq} count 1, sum TIME
";
    assert_eq!(recorder.metrics().replace(&queue, "jobs"), expected);
}

#[tokio::test]
async fn routing_keys_of_received_messages_and_reply_queues_make_no_series() {
    let recorder = Recorder::new();
    let (channel, other) = (channel(&recorder).await, bare().await);
    let queue = queue(&channel, "jobs").await;
    let mut consumer = consume(&channel, &queue).await;
    for number in 0..3 {
        write(&other, &queue, headers(&[]), "p").await;
        received(&mut consumer).await.process(async |_| ()).await;
        send(&channel, &format!("amq.rabbitmq.reply-to.{number}"), BasicProperties::default()).await;
    }
    let process = recorder.metric("messaging.process.duration");
    assert_eq!(process.with("messaging.destination.template", queue).count(), 3);
    let sent = recorder.metric("messaging.client.sent.messages");
    assert_eq!(sent.with("messaging.destination.template", "amq.rabbitmq.reply-to").sum(), 3.0);
    assert!(!recorder.metrics().contains("messaging.destination.name"), "{}", recorder.metrics());
}
