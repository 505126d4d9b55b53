//! The permits of bounded channels and the counts of their senders: an item counts from its send, a permit never.

use std::future::poll_fn;
use std::task::Poll;

use opentelemetry::trace::SpanId;
use otel_tasks::sync::{mpsc, oneshot};
use otel_tasks::{Channel, WithContext, in_context};
use otel_testing::Recorder;
use tokio::sync::mpsc::error::TrySendError;

use crate::support::{current, remote, tasks};

fn jobs(recorder: &Recorder) -> Channel {
    Channel::new("jobs").with_instrumentation(&tasks(recorder))
}

fn depth(recorder: &Recorder) -> f64 {
    recorder.metric("channel.queue.depth").with("channel.name", "jobs").sum()
}

#[tokio::test]
async fn permits_count_once_they_send() {
    let recorder = Recorder::new();
    let (sender, mut receiver) = mpsc::channel(jobs(&recorder), 4);
    in_context(&remote(7, true), || {
        let mut permits = sender.try_reserve_many(3).unwrap();
        assert_eq!(permits.len(), 3);
        permits.next().unwrap().send(1);
        permits.next().unwrap().send(2);
        assert_eq!((sender.capacity(), depth(&recorder)), (1, 2.0));
    });
    assert_eq!(sender.capacity(), 2, "the third permit was given back");
    for permit in sender.reserve_many(2).await.unwrap() {
        permit.send(3);
    }
    assert!(matches!(sender.try_reserve_many(1), Err(TrySendError::Full(()))));
    assert_eq!(depth(&recorder), 4.0);
    let item = receiver.recv().await.unwrap();
    assert_eq!(in_context(item.context(), current), SpanId::from(7));
    assert!(sender.reserve_many(5).await.is_err(), "more than the channel ever has");
    receiver.close();
    assert!(sender.reserve_many(1).await.is_err());
    let mut rest = Vec::new();
    assert_eq!(poll_fn(|cx| receiver.poll_recv_many(cx, &mut rest, 2)).await, 2);
    assert_eq!((rest.len(), depth(&recorder)), (2, 1.0));
    drop(receiver);
    assert_eq!(depth(&recorder), 0.0);
    assert_eq!(recorder.metric("channel.dropped.items").sum(), 1.0);
    assert_eq!(recorder.metric("channel.queue.duration").count(), 3);
    recorder.assert_clean();
}

#[tokio::test]
async fn owned_permits_return_their_sender() {
    let recorder = Recorder::new();
    let (sender, mut receiver) = mpsc::channel(jobs(&recorder), 1);
    let permit = sender.clone().reserve_owned().await.unwrap();
    assert!(permit.same_channel_as_sender(&sender) && permit.same_channel(&permit));
    let Err(TrySendError::Full(returned)) = sender.clone().try_reserve_owned() else {
        panic!("the permit has the only place");
    };
    assert!(returned.same_channel(&sender));
    drop(returned);
    let returned = permit.release();
    assert_eq!((sender.capacity(), recorder.metrics().contains("channel.queue.depth")), (1, false));
    let permit = returned.try_reserve_owned().unwrap();
    let task = tokio::spawn(async move { in_context(&remote(7, true), || permit.send(1)) });
    assert!(task.await.unwrap().same_channel(&sender));
    assert_eq!(depth(&recorder), 1.0);
    assert_eq!(receiver.process(async |_| current().to_string()).await.map(|id| id.len()), Some(16));
    assert_eq!(recorder.span("process jobs").parent_span_id, SpanId::from(7));
    let permit = sender.clone().try_reserve_owned().unwrap();
    drop(receiver);
    let Err(TrySendError::Closed(closed)) = sender.clone().try_reserve_owned() else {
        panic!("the receiver is gone");
    };
    assert!(sender.clone().reserve_owned().await.is_err());
    permit.send(2);
    drop((sender, closed));
    assert_eq!((depth(&recorder), recorder.metric("channel.dropped.items").sum()), (0.0, 1.0));
    recorder.assert_clean();
}

#[tokio::test]
async fn senders_are_counted_and_batches_are_received_without_a_runtime() {
    /// No item needs `Debug` for its channel to have it.
    struct Job;
    let recorder = Recorder::new();
    let (sender, mut receiver) = mpsc::channel(jobs(&recorder), 4);
    let weak = sender.downgrade();
    assert_eq!((sender.strong_count(), weak.strong_count(), receiver.sender_strong_count()), (1, 1, 1));
    assert_eq!((sender.weak_count(), weak.weak_count(), receiver.sender_weak_count()), (1, 1, 1));
    assert!(format!("{sender:?}{weak:?}{receiver:?}").contains("jobs"));
    sender.try_send(Job).unwrap_or_else(|_| panic!("the channel has room"));
    let (unbounded, mut rest) = mpsc::unbounded_channel(jobs(&recorder));
    let weak_unbounded = unbounded.downgrade();
    assert_eq!((unbounded.strong_count(), weak_unbounded.weak_count(), rest.sender_weak_count()), (1, 1, 1));
    unbounded.send(Job).unwrap_or_else(|_| panic!("the channel is open"));
    std::thread::spawn(move || {
        let mut items: Vec<WithContext<Job>> = Vec::new();
        assert_eq!(receiver.blocking_recv_many(&mut items, 9), 1);
        assert_eq!(rest.blocking_recv_many(&mut items, 9), 1);
        assert_eq!(items.len(), 2);
    })
    .join()
    .unwrap();
    assert_eq!((depth(&recorder), recorder.metric("channel.queue.duration").count()), (0.0, 2));
    recorder.assert_clean();
}

#[tokio::test]
async fn a_oneshot_shows_its_state() {
    let recorder = Recorder::new();
    let (mut sender, mut receiver) = oneshot::channel(jobs(&recorder));
    assert!(receiver.is_empty() && !receiver.is_terminated());
    assert_eq!(poll_fn(|cx| Poll::Ready(sender.poll_closed(cx))).await, Poll::Pending);
    sender.send(1).unwrap();
    assert!(!receiver.is_empty());
    assert_eq!(receiver.try_recv().unwrap().into_inner(), 1);
    assert!(receiver.is_terminated());
    assert_eq!(depth(&recorder), 0.0);
    recorder.assert_clean();
}
