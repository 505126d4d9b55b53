//! The end of a `publish` span: with the confirmation, or with the hand-over.

use std::time::Instant;

use futures_util::future::join_all;
use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Confirmation};
use opentelemetry::trace::FutureExt as _;
use opentelemetry_sdk::trace::{Sampler, SpanData};
use otel_amqp::{Channel, ExistingContext, PublisherConfirm};
use otel_testing::Recorder;

use crate::support::{
    LONG, attribute, channel, channel_with, confirming, declare, error_type, headers, options, queue, remote,
    traceparent, unique,
};

const CONFIRMATION: &str = "messaging.rabbitmq.message.confirmation";

pub(crate) async fn publish(channel: &Channel, exchange: &str, queue: &str) -> PublisherConfirm {
    let options = BasicPublishOptions { mandatory: true, ..Default::default() };
    let properties = BasicProperties::default();
    channel.basic_publish(exchange.into(), queue.into(), options, b"p", properties).await.unwrap()
}

#[tokio::test]
async fn without_confirmations_the_span_ends_with_the_hand_over() {
    let recorder = Recorder::new();
    let channel = channel(&recorder).await;
    let confirm = publish(&channel, "", &unique("nowhere")).await;
    let span = recorder.spans().remove(0);
    assert_eq!(attribute(&span, CONFIRMATION).as_deref(), Some("not_requested"));
    assert_eq!(error_type(&span), None, "the broker has not answered");
    assert_eq!(confirm.await, Ok(Confirmation::NotRequested));
    assert_eq!(recorder.spans().len(), 1);
    recorder.assert_clean();
}

#[tokio::test]
async fn the_span_ends_with_the_confirmation() {
    let recorder = Recorder::new();
    let channel = channel(&recorder).await;
    confirming(&channel).await;
    let queue = queue(&channel, "jobs").await;
    let confirm = publish(&channel, "", &queue).await;
    assert_eq!(recorder.spans().len(), 0, "the broker has not answered");
    assert_eq!(confirm.await, Ok(Confirmation::Ack(None)));
    let span = recorder.spans().remove(0);
    assert_eq!(attribute(&span, CONFIRMATION).as_deref(), Some("ack"));
    assert_eq!(error_type(&span), None);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_message_that_the_broker_cannot_route_fails() {
    let recorder = Recorder::new();
    let channel = channel(&recorder).await;
    confirming(&channel).await;
    let confirmation = publish(&channel, "", &unique("nowhere")).await.await.unwrap();
    assert_eq!(confirmation.take_message().unwrap().reply_code, 312);
    let span = recorder.spans().remove(0);
    assert_eq!(attribute(&span, CONFIRMATION).as_deref(), Some("returned"));
    assert_eq!(error_type(&span).as_deref(), Some("NO_ROUTE"));
    let failed = recorder.metric("messaging.client.operation.duration").with("error.type", "NO_ROUTE");
    assert_eq!(failed.count(), 1);
    recorder.assert_clean();
}

/// Publishes in bursts, until lapin has delivered returned messages with confirmations of others. Returns the keys of a queue
/// and of none, and the number of messages that were returned.
async fn misplace_returned(channel: &Channel) -> (String, String, usize) {
    let (queue, nowhere) = (queue(channel, "jobs").await, unique("nowhere"));
    let (begun, mut misplaced, mut returned) = (Instant::now(), 0, 0);
    // The broker acknowledges several messages at once when it likes to.
    while misplaced < 10 {
        assert!(begun.elapsed() < LONG, "lapin delivers each returned message with its own confirmation");
        let keys: Vec<_> = (0..20).map(|number| if number % 4 == 1 { &nowhere } else { &queue }).collect();
        let sent = join_all(keys.iter().map(|key| publish(channel, "", key))).await;
        // Last first: a message is returned before its confirmation, often with that of an earlier one.
        for (key, confirm) in keys.into_iter().zip(sent).rev() {
            let confirmation = confirm.await.unwrap();
            assert!(confirmation.is_ack());
            if let Some(message) = confirmation.take_message() {
                assert_eq!(message.routing_key.as_str(), nowhere);
                returned += 1;
                misplaced += usize::from(*key != nowhere);
            }
        }
    }
    (queue, nowhere, returned)
}

#[tokio::test]
async fn a_returned_message_is_that_of_its_own_span() {
    let recorder = Recorder::new();
    let channel = channel(&recorder).await;
    confirming(&channel).await;
    let (queue, nowhere, returned) = misplace_returned(&channel).await;
    let spans = recorder.spans();
    let of = |key: &str, confirmation: &str, error: Option<&str>| {
        let is_one = |span: &&SpanData| {
            span.name.ends_with(key)
                && attribute(span, CONFIRMATION).as_deref() == Some(confirmation)
                && error_type(span).as_deref() == error
        };
        spans.iter().filter(is_one).count()
    };
    assert_eq!(of(&nowhere, "returned", Some("NO_ROUTE")), returned);
    assert_eq!(of(&queue, "ack", None), spans.len() - returned);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_returned_message_that_is_not_sampled_fails_in_its_own_series() {
    let sampler = Sampler::ParentBased(Box::new(Sampler::AlwaysOn));
    let recorder = Recorder::builder().with_sampler(sampler).build();
    let channel = channel(&recorder).await;
    confirming(&channel).await;
    let (_, nowhere, returned) = misplace_returned(&channel).with_context(remote(7, false)).await;
    assert_eq!(recorder.spans().len(), 0);
    let failed = recorder.metric("messaging.client.operation.duration").with("error.type", "NO_ROUTE");
    assert_eq!(failed.count(), returned as u64);
    assert_eq!(failed.with("messaging.destination.name", nowhere).count(), returned as u64);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_returned_message_without_its_own_context_is_that_of_its_confirmation() {
    let recorder = Recorder::new();
    let options = options(&recorder).with_existing_context(ExistingContext::Preserve);
    let channel = channel_with(options).await;
    confirming(&channel).await;
    let mandatory = BasicPublishOptions { mandatory: true, ..Default::default() };
    let earlier_hop = BasicProperties::default().with_headers(headers(&[("traceparent", &traceparent(7))]));
    let nowhere = unique("nowhere");
    let sent = channel.basic_publish("".into(), nowhere.as_str().into(), mandatory, b"p", earlier_hop);
    assert!(sent.await.unwrap().await.unwrap().take_message().is_some());
    let span = recorder.spans().remove(0);
    assert_eq!(attribute(&span, CONFIRMATION).as_deref(), Some("returned"));
    assert_eq!(error_type(&span).as_deref(), Some("NO_ROUTE"));
    recorder.assert_clean();
}

#[tokio::test]
async fn a_message_that_the_queue_rejects_fails() {
    let recorder = Recorder::new();
    let channel = channel(&recorder).await;
    confirming(&channel).await;
    let queue = unique("full");
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(0));
    arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    declare(&channel, &queue, arguments).await;
    assert_eq!(publish(&channel, "", &queue).await.await, Ok(Confirmation::Nack(None)));
    let span = recorder.spans().remove(0);
    assert_eq!(attribute(&span, CONFIRMATION).as_deref(), Some("nack"));
    assert_eq!(error_type(&span).as_deref(), Some("nack"));
}

#[tokio::test]
async fn a_confirmation_that_is_dropped_ends_the_span_and_loses_no_returned_message() {
    let recorder = Recorder::new();
    let channel = channel(&recorder).await;
    confirming(&channel).await;
    let queue = queue(&channel, "jobs").await;
    for queue in [&*queue, &unique("nowhere"), &queue] {
        drop(publish(&channel, "", queue).await);
    }
    let returned = channel.wait_for_confirms().await.unwrap();
    let codes: Vec<_> = returned.iter().map(|message| message.reply_code).collect();
    assert_eq!(codes, [312]);
    recorder.wait_for_spans(3).await;
    let mut ends: Vec<_> =
        recorder.spans().iter().map(|span| attribute(span, CONFIRMATION).unwrap()).collect();
    ends.sort_unstable();
    assert_eq!(ends, ["ack", "ack", "returned"]);
    assert_eq!(channel.wait_for_confirms().await.unwrap(), []);
    recorder.assert_clean();
}

#[tokio::test]
async fn many_dropped_confirmations_all_end() {
    let recorder = Recorder::new();
    let channel = channel(&recorder).await;
    confirming(&channel).await;
    let queue = queue(&channel, "jobs").await;
    for _ in 0..200 {
        drop(publish(&channel, "", &queue).await);
    }
    assert_eq!(channel.wait_for_confirms().await.unwrap(), []);
    recorder.wait_for_spans(200).await;
    assert!(recorder.spans().iter().all(|span| error_type(span).is_none()));
    recorder.assert_clean();
}
