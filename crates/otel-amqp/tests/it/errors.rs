//! Errors of the channel and the connection, and messages that are too large for a frame.

use std::time::SystemTime;

use lapin::BasicProperties;
use lapin::options::{BasicAckOptions, BasicGetOptions, BasicPublishOptions};
use otel_testing::Recorder;

use crate::support::{
    attribute, bare, channel, channel_with, confirming, consume, error_type, headers, inspect, next, options,
    queue, received, send, text, traceparent_of, unique, write,
};

#[tokio::test]
async fn an_error_of_the_channel_ends_the_confirmations_and_the_consumers() {
    let recorder = Recorder::new();
    let channel = channel_with(options(&recorder).with_receive_spans(true)).await;
    confirming(&channel).await;
    let queue = queue(&channel, "jobs").await;
    let mut consumer = consume(&channel, &queue).await;
    send(&channel, &queue, BasicProperties::default()).await;
    let delivery = received(&mut consumer).await;
    // An unknown tag is an error of the channel.
    channel.basic_ack(99, BasicAckOptions::default()).await.unwrap();
    let running = consumer.process_each(std::future::pending(), async |_| ()).await;
    assert!(running.is_err());
    let wait = recorder.span("consume");
    assert_eq!(error_type(&wait).as_deref(), Some("PRECONDITION_FAILED"));
    assert!(delivery.poisoned());
    assert!(!delivery.ack(BasicAckOptions::default()).await.unwrap());
    let late = channel.basic_get(queue.as_str().into(), BasicGetOptions::default()).await;
    assert!(late.is_err());
    recorder.assert_clean();
}

#[tokio::test]
async fn a_channel_that_is_closed_sends_nothing() {
    let recorder = Recorder::new();
    let channel = channel(&recorder).await;
    confirming(&channel).await;
    channel.close(200, "".into()).await.unwrap();
    let (to, options) = (unique("jobs"), BasicPublishOptions::default());
    let sent =
        channel.basic_publish("".into(), to.as_str().into(), options, b"p", BasicProperties::default());
    assert!(sent.await.is_err());
    assert_eq!(error_type(&recorder.spans()[0]).as_deref(), Some("InvalidChannelState"));
    recorder.assert_clean();
}

#[tokio::test]
async fn headers_that_leave_no_room_are_sent_without_the_context() {
    let recorder = Recorder::new();
    let channel = channel(&recorder).await;
    confirming(&channel).await;
    let queue = queue(&channel, "jobs").await;
    let mut inspector = inspect(&channel, &queue).await;
    let frame_max = 131_072;
    // The frame, the reserve, and the header `x` with its lengths.
    let full = frame_max - 32 - 4096 - 4 - 7;
    for (size, carried) in [(1, true), (full - 200, true), (full - 10, false)] {
        let own = headers(&[("x", &"v".repeat(size))]);
        send(&channel, &queue, BasicProperties::default().with_headers(own)).await;
        let delivery = next(&mut inspector).await;
        let span = recorder.spans().pop().unwrap();
        assert_eq!(text(&delivery.properties, "x").map(|value| value.len()), Some(size));
        assert_eq!(text(&delivery.properties, "traceparent").is_some(), carried, "{size}");
        if carried {
            assert_eq!(text(&delivery.properties, "traceparent"), Some(traceparent_of(&span)));
        }
    }
    assert_eq!(recorder.metric("messaging.rabbitmq.context.left_out").sum(), 1.0);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_hostile_timestamp_is_no_age() {
    let recorder = Recorder::new();
    let channel = channel_with(options(&recorder).with_message_age(true)).await;
    let queue = queue(&channel, "jobs").await;
    let mut consumer = consume(&channel, &queue).await;
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    for (timestamp, recorded) in [(0, true), (now - 10, true), (now + 1000, true), (u64::MAX, false)] {
        send(&channel, &queue, BasicProperties::default().with_timestamp(timestamp)).await;
        received(&mut consumer).await.process(async |_| ()).await;
        let span = recorder.spans().pop().unwrap();
        assert_eq!(attribute(&span, "messaging.message.age").is_some(), recorded, "{timestamp}");
    }
    recorder.assert_clean();
}

#[tokio::test]
async fn a_table_that_lapin_survives_does_no_harm() {
    use lapin::types::{AMQPValue, FieldTable};
    let recorder = Recorder::new();
    let (channel, other) = (channel(&recorder).await, bare().await);
    let queue = queue(&channel, "jobs").await;
    let mut consumer = consume(&channel, &queue).await;
    let deep = (0..100).fold(FieldTable::default(), |inner, _| {
        let mut table = FieldTable::default();
        table.insert("traceparent".into(), AMQPValue::FieldTable(inner));
        table
    });
    write(&other, &queue, deep, "p").await;
    let delivery = received(&mut consumer).await;
    delivery.process(async |delivery| assert_eq!(delivery.data, b"p")).await;
    // A message that is forwarded with them gets a context of its own.
    send(&channel, &queue, delivery.properties.clone()).await;
    let forwarded = received(&mut consumer).await;
    assert_eq!(text(&forwarded.properties, "traceparent"), Some(traceparent_of(&recorder.spans()[1])));
    recorder.assert_clean();
}
