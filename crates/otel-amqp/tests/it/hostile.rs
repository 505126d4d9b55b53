//! Hostile messages: none prevents the consumer from receiving and forwarding the next one.

use std::time::SystemTime;

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use otel_testing::Recorder;

use crate::support::{
    attribute, bare, channel, channel_with, consume, options, queue, received, send, text, traceparent_of,
    write,
};

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
