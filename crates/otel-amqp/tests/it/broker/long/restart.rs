//! A broker that is killed midway and started again: each span ends once, and lapin's recovery restores the topology.

use std::time::{Duration, Instant};

use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicPublishOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, ConnectionProperties, ExchangeKind};
use otel_amqp::{Channel, PublisherConfirm};
use otel_testing::Recorder;

use crate::broker::{Broker, PATIENCE};
use crate::support::{LONG, attribute, confirming, consume, error_type, received};

async fn publish(channel: &Channel) -> lapin::Result<PublisherConfirm> {
    let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
    channel.basic_publish("orders".into(), "created.eu".into(), options, b"p", properties).await
}

/// Publishes with a recovering connection until a message is confirmed.
async fn publish_until_confirmed(channel: &Channel) -> usize {
    let (begun, mut attempts) = (Instant::now(), 0);
    loop {
        attempts += 1;
        let confirmed = match publish(channel).await {
            Ok(confirm) => {
                let confirmation = tokio::time::timeout(LONG, confirm).await.unwrap();
                confirmation.is_ok_and(|confirmation| confirmation.is_ack())
            }
            Err(_) => false,
        };
        if confirmed {
            return attempts;
        }
        assert!(begun.elapsed() < PATIENCE, "the connection does not recover");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn each_message_has_an_end_when_the_broker_is_stopped_midway() {
    let recorder = Recorder::builder().with_patience(LONG).build();
    let mut broker = Broker::start().await;

    let recovering = ConnectionProperties::default().enable_auto_recover().configure_backoff(|backoff| {
        backoff
            .with_min_delay(Duration::from_millis(50))
            .with_max_delay(Duration::from_millis(500))
            .without_max_times()
    });
    let channel = broker.channel("guest", &recorder, recovering).await;
    confirming(&channel).await;
    // Neither of these survives a restart of the broker: lapin declares and binds them again.
    let none = FieldTable::default();
    channel
        .exchange_declare("orders".into(), ExchangeKind::Topic, Default::default(), none.clone())
        .await
        .unwrap();
    channel.queue_declare("jobs".into(), QueueDeclareOptions::default(), none.clone()).await.unwrap();
    let bind = QueueBindOptions::default();
    channel.queue_bind("jobs".into(), "orders".into(), "created.*".into(), bind, none).await.unwrap();
    let mut consumer = consume(&channel, "jobs").await;
    publish_until_confirmed(&channel).await;
    let before = received(&mut consumer).await;

    // A message on its way when the broker dies has an end, and so has each attempt until the broker is back.
    let finished = recorder.spans().len();
    let lost = publish(&channel).await;
    broker.stop();
    // lapin fails what was on its way when it recovers, not before.
    broker.restart().await;
    let lost = match lost {
        Ok(confirm) => tokio::time::timeout(LONG, confirm).await.unwrap().is_ok(),
        Err(_) => false,
    };
    let attempts = publish_until_confirmed(&channel).await;
    let spans = recorder.spans();
    let ends: Vec<_> = spans[finished..].iter().map(error_type).collect();
    assert_eq!(ends.len(), 1 + attempts, "{ends:?}");
    assert_eq!(ends[0].is_none(), lost, "{ends:?}");
    assert!(ends[1..attempts].iter().all(Option::is_some) && ends[attempts].is_none(), "{ends:?}");

    // The topology is recovered through the wrapper: the consumer receives again.
    assert!(
        !before.ack(BasicAckOptions::default()).await.unwrap_or(false),
        "the delivery was that of another connection"
    );
    let after = received(&mut consumer).await;
    after.process(async |_| ()).await;
    assert!(after.ack(BasicAckOptions::default()).await.unwrap());
    let process = recorder.span("process jobs");
    assert_eq!(attribute(&process, "server.address").as_deref(), Some("broker.example"));
    let empty = channel.basic_get("none".into(), BasicGetOptions::default()).await;
    assert!(empty.is_err());
    recorder.assert_clean();
}
