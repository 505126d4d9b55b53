//! Faults of channels: each item is processed, given back or counted as dropped, and nothing hangs.

use std::time::Duration;

use otel_tasks::sync::{mpsc, oneshot};
use otel_tasks::{Channel, TaskInstrumentation};
use otel_testing::Recorder;
use tokio::time::timeout;

use crate::support::{error_type, tasks};

const LIMIT: Duration = Duration::from_secs(10);

fn jobs(recorder: &Recorder) -> Channel {
    Channel::new("jobs").with_instrumentation(&tasks(recorder))
}

fn dropped(recorder: &Recorder) -> f64 {
    recorder.metric("channel.dropped.items").with("channel.name", "jobs").sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn items_of_a_dropped_receiver_are_counted() {
    let recorder = Recorder::new();
    let (sender, receiver) = mpsc::channel(jobs(&recorder), 4);
    for _ in 0..4 {
        sender.try_send(()).unwrap();
    }
    let waiting = tokio::spawn({
        let sender = sender.clone();
        async move { sender.send(()).await }
    });
    let permit_of_a_closed_channel = async {
        let (sender, receiver) = mpsc::channel(jobs(&recorder), 1);
        let permit = sender.reserve().await.unwrap();
        drop(receiver);
        permit.send(());
    };
    drop(receiver);
    assert!(timeout(LIMIT, waiting).await.unwrap().unwrap().is_err(), "the sender learns of it");
    assert_eq!(dropped(&recorder), 4.0, "an item that its sender has back was not dropped");
    permit_of_a_closed_channel.await;
    assert_eq!(dropped(&recorder), 5.0);
    let (sender, receiver) = oneshot::channel(jobs(&recorder));
    sender.send(()).unwrap();
    drop(receiver);
    assert_eq!(dropped(&recorder), 6.0);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_receiver_without_senders_gets_the_rest_and_the_end() {
    let recorder = Recorder::new();
    let (sender, mut receiver) = mpsc::channel(jobs(&recorder), 4);
    sender.try_send(1).unwrap();
    drop(sender);
    assert_eq!(timeout(LIMIT, receiver.process(async |job| job)).await.unwrap(), Some(1));
    assert_eq!(timeout(LIMIT, receiver.process(async |job| job)).await.unwrap(), None);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_receive_that_is_dropped_loses_nothing() {
    let recorder = Recorder::new();
    let (sender, mut receiver) = mpsc::channel(jobs(&recorder), 4);
    timeout(Duration::from_millis(1), receiver.process(async |job: u32| job)).await.unwrap_err();
    sender.try_send(1).unwrap();
    assert_eq!(receiver.process(async |job| job).await, Some(1));
    assert_eq!(recorder.spans().len(), 1);
    recorder.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handlers_that_panic_or_are_dropped_end_their_items() {
    let recorder = Recorder::new();
    let (sender, mut receiver) = mpsc::channel(jobs(&recorder), 4);
    sender.try_send(()).unwrap();
    sender.try_send(()).unwrap();
    let worker = tokio::spawn(async move {
        let handler = async |()| std::future::pending::<()>().await;
        timeout(Duration::from_millis(1), receiver.process(handler)).await.unwrap_err();
        receiver.process(async |()| -> () { panic!("on purpose") }).await
    });
    assert!(timeout(LIMIT, worker).await.unwrap().unwrap_err().is_panic());
    let ends: Vec<_> = recorder.spans().iter().map(|span| error_type(span).unwrap()).collect();
    assert_eq!(ends, ["cancelled", "panic"]);
    recorder.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_item_is_accounted_for_while_workers_come_and_go() {
    const ITEMS: u32 = 2_000;
    let recorder = Recorder::new();
    let tasks = tasks(&recorder);
    let channel = |tasks: &TaskInstrumentation| Channel::new("jobs").with_instrumentation(tasks);
    let mut refused = 0;
    for round in 0..20 {
        let (sender, mut receiver) = mpsc::channel(channel(&tasks), 8);
        let worker = tokio::spawn(async move {
            // Leaves with items in the channel, at another place in each round.
            for _ in 0..round * 5 {
                receiver.process(async |()| tokio::task::yield_now().await).await;
            }
        });
        let senders: Vec<_> = (0..4)
            .map(|_| {
                let sender = sender.clone();
                tokio::spawn(async move {
                    let mut refused = 0;
                    for _ in 0..ITEMS / 80 {
                        refused += u32::from(sender.send(()).await.is_err());
                    }
                    refused
                })
            })
            .collect();
        drop(sender);
        for sender in senders {
            refused += timeout(LIMIT, sender).await.unwrap().unwrap();
        }
        timeout(LIMIT, worker).await.unwrap().unwrap();
    }
    let processed = recorder.metric("channel.process.duration").count();
    assert_eq!(processed, recorder.spans().len() as u64);
    assert_eq!(processed as f64 + dropped(&recorder) + f64::from(refused), f64::from(ITEMS));
    recorder.assert_clean();
}

#[test]
fn items_that_other_code_drops_are_counted_on_request() {
    let recorder = Recorder::new();
    jobs(&recorder).count_dropped(3);
    assert_eq!(dropped(&recorder), 3.0);
}
