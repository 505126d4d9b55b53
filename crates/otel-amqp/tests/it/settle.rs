//! Settling: its spans, what happens to the message, and messages that were delivered before.

use lapin::BasicProperties;
use lapin::options::{BasicAckOptions, BasicGetOptions, BasicNackOptions, BasicRejectOptions};
use lapin::types::{AMQPValue, FieldTable};
use otel_testing::Recorder;

use crate::support::{
    attribute, bare, channel, consume, declare, error_type, headers, queue, received, send, traceparent,
    unique, write,
};

#[tokio::test]
async fn a_settlement_is_a_span_that_links_to_its_message() {
    let recorder = Recorder::new();
    let (channel, other) = (channel(&recorder).await, bare().await);
    let queue = queue(&other, "jobs").await;
    let mut consumer = consume(&channel, &queue).await;
    for _ in 0..4 {
        write(&other, &queue, headers(&[("traceparent", &traceparent(7))]), "p").await;
    }
    let (requeue, multiple) = (true, true);
    let mut deliveries = Vec::new();
    for _ in 0..4 {
        deliveries.push(received(&mut consumer).await);
    }
    assert!(deliveries[0].reject(BasicRejectOptions { requeue: false }).await.unwrap());
    assert!(deliveries[1].acker.nack(BasicNackOptions { requeue, multiple: false }).await.unwrap());
    assert!(deliveries[3].ack(BasicAckOptions { multiple }).await.unwrap());
    let expected = "\
CLIENT reject jobs
    messaging.destination.template: jobs
    messaging.operation.name: reject
    messaging.operation.type: settle
    messaging.rabbitmq.message.delivery_tag: 1
    messaging.rabbitmq.settle.requeue: false
    messaging.system: rabbitmq
    link → remote 0000…0007/0000…0007
CLIENT nack jobs
    messaging.destination.template: jobs
    messaging.operation.name: nack
    messaging.operation.type: settle
    messaging.rabbitmq.message.delivery_tag: 2
    messaging.rabbitmq.settle.requeue: true
    messaging.system: rabbitmq
    link → remote 0000…0007/0000…0007
CLIENT ack jobs
    messaging.destination.template: jobs
    messaging.operation.name: ack
    messaging.operation.type: settle
    messaging.rabbitmq.message.delivery_tag: 4
    messaging.rabbitmq.settle.multiple: true
    messaging.system: rabbitmq
    link → remote 0000…0007/0000…0007
";
    assert_eq!(recorder.tree().replace(&queue, "jobs"), expected);
    let again = received(&mut consumer).await;
    assert!(again.redelivered);
    again.process(async |_| ()).await;
    let process = recorder.span(&format!("process {queue}"));
    assert_eq!(attribute(&process, "messaging.rabbitmq.message.redelivered").as_deref(), Some("true"));
    recorder.assert_clean();
}

#[tokio::test]
async fn a_settlement_that_is_not_sent_is_a_failure() {
    let recorder = Recorder::new();
    let channel = channel(&recorder).await;
    let queue = queue(&channel, "jobs").await;
    send(&channel, &queue, BasicProperties::default()).await;
    let got = channel.basic_get(queue.as_str().into(), BasicGetOptions::default()).await.unwrap().unwrap();
    assert!(got.ack(BasicAckOptions::default()).await.unwrap());
    assert!(!got.usable());
    assert!(!got.ack(BasicAckOptions::default()).await.unwrap());
    let acks = recorder.spans();
    let errors: Vec<_> = acks.iter().filter(|span| span.name.starts_with("ack")).map(error_type).collect();
    assert_eq!(errors, [None, Some("not_sent".to_owned())]);
    recorder.assert_clean();
}

#[tokio::test]
async fn deliveries_are_settled_by_their_tag() {
    let recorder = Recorder::new();
    let channel = channel(&recorder).await;
    let queue = queue(&channel, "jobs").await;
    let mut tags = Vec::new();
    for _ in 0..3 {
        send(&channel, &queue, BasicProperties::default()).await;
        let got = channel.basic_get(queue.as_str().into(), BasicGetOptions::default()).await;
        tags.push(got.unwrap().unwrap().delivery_tag);
    }
    channel.basic_reject(tags[0], BasicRejectOptions { requeue: false }).await.unwrap();
    channel.basic_nack(tags[1], BasicNackOptions { requeue: false, multiple: false }).await.unwrap();
    channel.basic_ack(tags[2], BasicAckOptions { multiple: true }).await.unwrap();
    for (index, name) in ["reject", "nack", "ack"].into_iter().enumerate() {
        let span = recorder.span(name);
        let tag = attribute(&span, "messaging.rabbitmq.message.delivery_tag").unwrap();
        assert_eq!(tag, tags[index].to_string(), "{name}");
    }
    recorder.assert_clean();
}

#[tokio::test]
async fn a_dead_lettered_message_names_its_first_queue_and_its_deaths() {
    let recorder = Recorder::new();
    let channel = channel(&recorder).await;
    let (dead, jobs) = (queue(&channel, "dead").await, unique("jobs"));
    let mut arguments = FieldTable::default();
    arguments.insert("x-dead-letter-exchange".into(), AMQPValue::LongString("".into()));
    arguments.insert("x-dead-letter-routing-key".into(), AMQPValue::LongString(dead.as_str().into()));
    declare(&channel, &jobs, arguments).await;
    send(&channel, &jobs, BasicProperties::default()).await;
    let got = channel.basic_get(jobs.as_str().into(), BasicGetOptions::default()).await.unwrap().unwrap();
    got.reject(BasicRejectOptions { requeue: false }).await.unwrap();
    let mut letters = consume(&channel, &dead).await;
    let letter = received(&mut letters).await;
    letter.process(async |_| ()).await;
    let process = recorder.span(&format!("process {dead}"));
    assert_eq!(attribute(&process, "messaging.rabbitmq.message.death_count").as_deref(), Some("1"));
    assert_eq!(attribute(&process, "messaging.rabbitmq.message.first_death_queue"), Some(jobs.clone()));
    let publish = recorder.span(&format!("publish {jobs}"));
    assert_eq!(process.parent_span_id, publish.span_context.span_id(), "{}", recorder.tree());
    recorder.assert_clean();
}
