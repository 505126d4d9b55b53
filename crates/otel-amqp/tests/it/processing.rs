//! Processing: the loops and their acknowledgements, delegates, batches, and consumers that the broker cancels.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lapin::BasicProperties;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicQosOptions, QueueDeclareOptions,
    QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use otel_amqp::{Acknowledgement, Channel, Connection, Delivery, DeliveryResult};
use otel_testing::Recorder;
use tokio::sync::Notify;

use crate::support::{
    LONG, attribute, bare, channel, channel_with, connect, consume, error_type, headers, options, queue,
    received, send, traceparent, unique, write,
};

/// Returns the number of messages that are left in a queue after its consumers' connection is closed.
async fn left(queue: &str) -> u32 {
    let passive = QueueDeclareOptions { passive: true, ..Default::default() };
    let channel = bare().await;
    channel.queue_declare(queue.into(), passive, FieldTable::default()).await.unwrap().message_count()
}

async fn acknowledging(recorder: &Recorder) -> (Connection, Channel) {
    let options = options(recorder).with_acknowledgement(Acknowledgement::OnSuccess);
    let connection = Connection::from(connect().await).with_options(options);
    let channel = connection.create_channel().await.unwrap();
    channel.basic_qos(10, BasicQosOptions::default()).await.unwrap();
    (connection, channel)
}

#[tokio::test]
async fn a_loop_acknowledges_the_messages_whose_handlers_succeed() {
    for concurrent in [false, true] {
        let recorder = Recorder::new();
        let (connection, channel) = acknowledging(&recorder).await;
        let (queue, other) = (queue(&channel, "jobs").await, bare().await);
        for payload in ["a", "fails", "settled", "b"] {
            write(&other, &queue, headers(&[]), payload).await;
        }
        let mut consumer = consume(&channel, &queue).await;
        let (count, done) = (AtomicUsize::new(0), Notify::new());
        let handler = async |delivery: Delivery| {
            if delivery.data == b"settled" {
                delivery.ack(BasicAckOptions::default()).await.unwrap();
            }
            if count.fetch_add(1, Ordering::Relaxed) == 3 {
                done.notify_one();
            }
            if delivery.data == b"fails" { Err("failed") } else { Ok(()) }
        };
        let stop = done.notified();
        let running = async {
            match concurrent {
                true => consumer.process_each_concurrent(4, stop, &handler).await,
                false => consumer.process_each(stop, &handler).await,
            }
        };
        tokio::time::timeout(LONG, running).await.unwrap().unwrap();
        let count = |name: &str| recorder.spans().iter().filter(|span| span.name.starts_with(name)).count();
        assert_eq!((count("process"), count("ack")), (4, 3), "{}", recorder.tree());
        connection.close(200, "".into()).await.unwrap();
        assert_eq!(left(&queue).await, 1, "the message whose handler failed was not acknowledged");
        recorder.assert_clean();
    }
}

#[tokio::test]
async fn by_outcome_a_message_whose_handler_failed_is_delivered_again() {
    for concurrent in [false, true] {
        let recorder = Recorder::new();
        let options = options(&recorder).with_acknowledgement(Acknowledgement::ByOutcome);
        let connection = Connection::from(connect().await).with_options(options);
        let channel = connection.create_channel().await.unwrap();
        channel.basic_qos(1, BasicQosOptions::default()).await.unwrap();
        let (queue, other) = (queue(&channel, "jobs").await, bare().await);
        for payload in ["fails", "last"] {
            write(&other, &queue, headers(&[]), payload).await;
        }
        let mut consumer = consume(&channel, &queue).await;
        let (count, done) = (AtomicUsize::new(0), Notify::new());
        let handler = async |delivery: Delivery| {
            if count.fetch_add(1, Ordering::Relaxed) == 2 {
                done.notify_one();
            }
            if delivery.data == b"fails" && !delivery.redelivered { Err("failed") } else { Ok(()) }
        };
        let stop = done.notified();
        let running = async {
            match concurrent {
                true => consumer.process_each_concurrent(1, stop, &handler).await,
                false => consumer.process_each(stop, &handler).await,
            }
        };
        tokio::time::timeout(LONG, running).await.unwrap().unwrap();
        let count = |name: &str| recorder.spans().iter().filter(|span| span.name.starts_with(name)).count();
        assert_eq!((count("nack"), count("ack")), (1, 2), "{}", recorder.tree());
        connection.close(200, "".into()).await.unwrap();
        assert_eq!(left(&queue).await, 0);
        recorder.assert_clean();
    }
}

#[tokio::test]
async fn a_delegate_processes_and_learns_of_the_end() {
    let recorder = Recorder::new();
    let channel = channel(&recorder).await;
    let queue = queue(&channel, "jobs").await;
    let consumer = consume(&channel, &queue).await;
    let (handled, cancelled) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (handling, cancelling) = (Arc::clone(&handled), Arc::clone(&cancelled));
    consumer.set_delegate(move |delivery: DeliveryResult| {
        let (handled, cancelled) = (Arc::clone(&handling), Arc::clone(&cancelling));
        async move {
            match delivery.unwrap() {
                None => cancelled.notify_one(),
                Some(delivery) => {
                    delivery.process(async |delivery| assert_eq!(delivery.data, b"one book")).await;
                    assert!(delivery.ack(BasicAckOptions::default()).await.unwrap());
                    handled.notify_one();
                }
            }
        }
    });
    send(&channel, &queue, BasicProperties::default()).await;
    tokio::time::timeout(LONG, handled.notified()).await.unwrap();
    channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
    tokio::time::timeout(LONG, cancelled.notified()).await.unwrap();
    let names: Vec<_> = recorder.spans().iter().map(|span| span.name.replace(&queue, "jobs")).collect();
    assert_eq!(names, ["publish jobs", "process jobs", "ack jobs"]);
    let consumed = recorder.metric("messaging.client.consumed.messages");
    assert_eq!(consumed.with("messaging.operation.name", "consume").sum(), 1.0);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_consumer_that_the_broker_cancels_ends() {
    let recorder = Recorder::new();
    let channel = channel_with(options(&recorder).with_receive_spans(true)).await;
    let queue = queue(&channel, "jobs").await;
    let mut consumer = consume(&channel, &queue).await;
    let other = bare().await;
    other.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
    let running = consumer.process_each(std::future::pending(), async |_| ());
    tokio::time::timeout(LONG, running).await.unwrap().unwrap();
    assert_eq!(recorder.spans().len(), 0, "a wait without a message is no span");
    recorder.assert_clean();
}

#[tokio::test]
async fn a_batch_is_one_span_that_links_to_its_messages() {
    let recorder = Recorder::new();
    let connection = Connection::from(connect().await).with_options(options(&recorder));
    let channel = connection.create_channel().await.unwrap();
    let (queue, other) = (queue(&channel, "jobs").await, bare().await);
    let mut consumer = consume(&channel, &queue).await;
    let mut batch = Vec::new();
    for id in [7, 8] {
        write(&other, &queue, headers(&[("traceparent", &traceparent(id))]), "p").await;
        batch.push(received(&mut consumer).await);
    }
    connection.processing_batch(&batch).run(async {}).await;
    let span = recorder.span(&format!("process {queue}"));
    assert_eq!(attribute(&span, "messaging.batch.message_count").as_deref(), Some("2"));
    let tags: Vec<_> = span.links.iter().map(|link| link.attributes[0].value.to_string()).collect();
    assert_eq!(tags, ["1", "2"]);
    recorder.assert_clean();
}

#[tokio::test]
async fn messages_of_a_stream_are_linked_and_never_children() {
    let recorder = Recorder::new();
    let (channel, other) = (channel(&recorder).await, bare().await);
    let stream = unique("log");
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("stream".into()));
    channel.queue_declare(stream.as_str().into(), durable, arguments).await.unwrap();
    write(&other, &stream, headers(&[("traceparent", &traceparent(7))]), "p").await;
    channel.basic_qos(10, BasicQosOptions::default()).await.unwrap();
    let mut from_start = FieldTable::default();
    from_start.insert("x-stream-offset".into(), AMQPValue::LongString("first".into()));
    let options = BasicConsumeOptions::default();
    let mut consumer =
        channel.basic_consume(stream.as_str().into(), "".into(), options, from_start).await.unwrap();
    let delivery = received(&mut consumer).await;
    delivery.process(async |_| ()).await;
    let process = recorder.span(&format!("process {stream}"));
    assert!(!process.parent_span_is_remote, "{}", recorder.tree());
    assert_eq!(process.links.len(), 1);
    channel.queue_delete(stream.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
    recorder.assert_clean();
}

#[tokio::test]
async fn an_empty_queue_gives_nothing_and_a_missing_one_fails() {
    let recorder = Recorder::new();
    let channel = channel_with(options(&recorder).with_receive_spans(true)).await;
    let queue = queue(&channel, "jobs").await;
    let get = async |queue: &str| channel.basic_get(queue.into(), BasicGetOptions::default()).await;
    assert!(get(&queue).await.unwrap().is_none());
    assert_eq!(recorder.spans().len(), 0);
    send(&channel, &queue, BasicProperties::default()).await;
    assert!(get(&queue).await.unwrap().is_some());
    assert_eq!(recorder.spans()[1].name, format!("get {queue}"));
    assert!(get(&unique("missing")).await.is_err());
    let failed = recorder.spans().remove(2);
    assert_eq!((&*failed.name, error_type(&failed).as_deref()), ("get", Some("NOT_FOUND")));
    recorder.assert_clean();
}
