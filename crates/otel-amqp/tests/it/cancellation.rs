//! Futures that are dropped at each of their await points, and handlers that panic.

use std::panic::AssertUnwindSafe;

use futures_util::{FutureExt as _, StreamExt as _};
use lapin::BasicProperties;
use lapin::options::{BasicAckOptions, BasicPublishOptions};
use otel_testing::Recorder;

use crate::support::{
    bare, channel, channel_with, confirming, consume, error_type, headers, inspect, next, options, queue,
    received, send, write,
};

#[tokio::test]
async fn what_is_dropped_before_it_is_polled_never_was() {
    let recorder = Recorder::new();
    let channel = channel(&recorder).await;
    let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
    drop(channel.basic_publish("".into(), "jobs".into(), options, b"p", properties));
    drop(channel.basic_ack(1, BasicAckOptions::default()));
    drop(channel.tx_select());
    assert_eq!((recorder.spans().len(), recorder.metrics()), (0, String::new()));
    recorder.assert_clean();
}

#[tokio::test]
async fn a_publish_that_is_dropped_before_the_hand_over_is_unknown() {
    let recorder = Recorder::new();
    let channel = channel(&recorder).await;
    confirming(&channel).await;
    let queue = queue(&channel, "jobs").await;
    let mut inspector = inspect(&channel, &queue).await;
    // Writing it takes longer than the one poll.
    let large = vec![7; 32 << 20];
    let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
    let mut sending =
        Box::pin(channel.basic_publish("".into(), queue.as_str().into(), options, &large, properties));
    assert!((&mut sending).now_or_never().is_none());
    drop(sending);
    assert_eq!(error_type(&recorder.spans()[0]).as_deref(), Some("unknown"));
    // lapin sends it all the same.
    assert!(next(&mut inspector).await.data == large);
    recorder.assert_clean();
}

#[tokio::test]
async fn receiving_that_is_dropped_loses_nothing() {
    let recorder = Recorder::new();
    let channel = channel_with(options(&recorder).with_receive_spans(true)).await;
    let (queue, other) = (queue(&channel, "jobs").await, bare().await);
    let mut consumer = consume(&channel, &queue).await;
    for _ in 0..3 {
        assert!(consumer.next().now_or_never().is_none());
    }
    assert_eq!(recorder.spans().len(), 0, "waiting for nothing is no span");
    write(&other, &queue, headers(&[]), "a").await;
    assert_eq!(received(&mut consumer).await.data, b"a");
    assert_eq!(recorder.spans().len(), 1);
    recorder.assert_clean();
}

#[tokio::test]
async fn processing_that_is_dropped_or_panics_says_so() {
    let recorder = Recorder::new();
    let (channel, other) = (channel(&recorder).await, bare().await);
    let queue = queue(&channel, "jobs").await;
    let mut consumer = consume(&channel, &queue).await;
    write(&other, &queue, headers(&[]), "a").await;
    let message = received(&mut consumer).await;

    drop(message.process(async |_| ()));
    assert_eq!(recorder.spans().len(), 0, "the handler was never called");
    let mut processing = Box::pin(message.process(async |_| tokio::task::yield_now().await));
    assert!((&mut processing).now_or_never().is_none());
    drop(processing);
    let panicked = AssertUnwindSafe(message.process(async |_| -> () { panic!("on purpose") }));
    assert!(panicked.catch_unwind().await.is_err());
    let panicked = AssertUnwindSafe(|| message.processing().inside(|| panic!("on purpose")));
    assert!(std::panic::catch_unwind(panicked).is_err());
    let errors: Vec<_> = recorder.spans().iter().filter_map(error_type).collect();
    assert_eq!(errors, ["cancelled", "panic", "panic"]);
    recorder.assert_clean();
}

#[tokio::test]
async fn waiting_for_confirmations_that_is_dropped_loses_none() {
    let recorder = Recorder::new();
    let channel = channel(&recorder).await;
    confirming(&channel).await;
    let queue = queue(&channel, "jobs").await;
    let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
    let sent = channel.basic_publish("".into(), queue.as_str().into(), options, b"p", properties).await;
    drop(sent.unwrap());
    drop(channel.wait_for_confirms().now_or_never());
    assert_eq!(channel.wait_for_confirms().await.unwrap(), []);
    recorder.wait_for_spans(1).await;
    assert_eq!(error_type(&recorder.spans()[0]), None);
    send(&channel, &queue, BasicProperties::default()).await;
    recorder.assert_clean();
}
