//! Messages and settlements that the broker refuses: the error closes the channel, and ends all that it has in flight.

use futures_util::future::join_all;
use lapin::options::{BasicAckOptions, BasicGetOptions, BasicPublishOptions, ExchangeDeclareOptions};
use lapin::{BasicProperties, ExchangeKind};
use otel_testing::Recorder;

use crate::confirmation::publish;
use crate::support::{
    channel, channel_with, confirming, consume, error_type, options, queue, received, send, unique,
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
async fn messages_before_the_channel_fails_end_with_its_error() {
    let recorder = Recorder::new();
    let channel = channel(&recorder).await;
    confirming(&channel).await;
    let exchange = unique("missing");
    let confirm = publish(&channel, &exchange, "key").await;
    assert!(confirm.await.is_err());
    assert_eq!(error_type(&recorder.spans()[0]).as_deref(), Some("NOT_FOUND"));
    let options = BasicPublishOptions::default();
    let properties = BasicProperties::default();
    let late = channel.basic_publish("".into(), "key".into(), options, b"p", properties).await;
    assert!(late.is_err());
    assert_eq!(error_type(&recorder.spans()[1]).as_deref(), Some("InvalidChannelState"));
    recorder.assert_clean();
}

#[tokio::test]
async fn each_message_in_flight_ends_when_the_channel_fails() {
    let recorder = Recorder::new();
    let channel = channel(&recorder).await;
    confirming(&channel).await;
    let (queue, missing) = (queue(&channel, "jobs").await, unique("missing"));
    let exchanges: Vec<_> = (0..20).map(|number| if number == 10 { &*missing } else { "" }).collect();
    let (options, none) = (BasicPublishOptions::default(), BasicProperties::default());
    let sent = exchanges.iter().map(|exchange| {
        let (exchange, key) = ((*exchange).into(), queue.as_str().into());
        channel.basic_publish(exchange, key, options, b"p", none.clone())
    });
    let mut failed = 0;
    for sent in join_all(sent).await {
        let confirmed = async { sent?.await };
        failed += usize::from(confirmed.await.is_err());
    }
    // The broker has confirmed some messages before the one that it refuses, and no later one.
    assert!((10..=20).contains(&failed), "{failed}");
    let ends: Vec<_> = recorder.spans().iter().filter_map(error_type).collect();
    assert_eq!((recorder.spans().len(), ends.len()), (20, failed));
    assert!(ends.iter().any(|end| end == "NOT_FOUND"), "{ends:?}");
    assert!(ends.iter().all(|end| end == "NOT_FOUND" || end == "InvalidChannelState"), "{ends:?}");
    recorder.assert_clean();
}

#[tokio::test]
async fn an_exchange_that_accepts_no_message_refuses_it() {
    let recorder = Recorder::new();
    let (channel, exchange) = (channel(&recorder).await, unique("internal"));
    confirming(&channel).await;
    let declare = ExchangeDeclareOptions { internal: true, auto_delete: true, ..Default::default() };
    let name = exchange.as_str();
    channel.exchange_declare(name.into(), ExchangeKind::Fanout, declare, Default::default()).await.unwrap();
    assert!(publish(&channel, name, "key").await.await.is_err());
    assert_eq!(error_type(&recorder.spans()[0]).as_deref(), Some("ACCESS_REFUSED"));
    recorder.assert_clean();
}
