//! Faults of channels: each item is processed, given back or counted as dropped, and nothing hangs.

use std::cell::RefCell;
use std::time::Duration;

use otel_tasks::sync::{broadcast, mpsc, oneshot};
use otel_tasks::{Channel, TaskInstrumentation, spawn_with_span};
use otel_testing::Recorder;
use tokio::runtime::Runtime;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::timeout;

use crate::support::{error_type, span, tasks};

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stage_that_fails_ends_its_pipeline() {
    let recorder = Recorder::new();
    let (lines, mut read) = mpsc::channel(jobs(&recorder), 2);
    let (rows, mut parsed) = mpsc::channel(jobs(&recorder), 2);
    let source = tokio::spawn(async move {
        let mut sent = 0;
        while lines.send(sent).await.is_ok() {
            sent += 1;
        }
        sent
    });
    let parse = tokio::spawn(async move {
        while let Some(row) =
            read.process(async |line: u32| if line < 5 { Ok(line) } else { Err("bad") }).await
        {
            if rows.send(row?).await.is_err() {
                break;
            }
        }
        Ok::<_, &str>(())
    });
    let store = tokio::spawn(async move {
        let mut stored = 0;
        while parsed.process(async |_| ()).await.is_some() {
            stored += 1;
        }
        stored
    });
    let sent = timeout(LIMIT, source).await.unwrap().unwrap();
    assert_eq!(timeout(LIMIT, parse).await.unwrap().unwrap(), Err("bad"));
    assert_eq!(timeout(LIMIT, store).await.unwrap().unwrap(), 5, "what came before the failure");
    let processed = recorder.metric("channel.process.duration").count();
    assert_eq!(processed, 6 + 5, "lines and rows");
    let left = if sent > 6 { dropped(&recorder) } else { 0.0 };
    assert_eq!(f64::from(sent), 6.0 + left, "each line was processed or dropped");
    assert_eq!(recorder.spans().iter().filter(|span| error_type(span).is_some()).count(), 1);
    recorder.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_copy_of_a_broadcast_is_accounted_for() {
    const ITEMS: u32 = 2_000;
    const RECEIVERS: u32 = 4;
    let recorder = Recorder::new();
    let (sender, receiver) = broadcast::channel(jobs(&recorder), 8);
    let receivers: Vec<_> = (0..RECEIVERS).map(|_| sender.subscribe()).collect();
    drop(receiver);
    let workers: Vec<_> = (0..RECEIVERS)
        .zip(receivers)
        .map(|(number, mut receiver)| {
            tokio::spawn(async move {
                let mut missed = 0;
                loop {
                    match receiver.process(async |_| tokio::task::yield_now().await).await {
                        Err(RecvError::Lagged(items)) => missed += items,
                        Err(RecvError::Closed) => return missed,
                        // One handler is slow, so that its receiver lags.
                        Ok(()) if number == 0 => tokio::time::sleep(Duration::from_millis(1)).await,
                        Ok(()) => {}
                    }
                }
            })
        })
        .collect();
    for number in 0..ITEMS {
        assert_eq!(sender.send(number).unwrap(), 4);
        if number % 100 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    drop(sender);
    let mut missed = 0;
    for worker in workers {
        missed += timeout(LIMIT, worker).await.unwrap().unwrap();
    }
    assert!(missed > 0, "the slow receiver lags");
    assert_eq!(dropped(&recorder), missed as f64);
    let processed = recorder.metric("channel.process.duration").count();
    assert_eq!(processed + missed, u64::from(ITEMS * RECEIVERS));
    assert_eq!(recorder.spans().len() as u64, processed);
    recorder.assert_clean();
}

/// At the end of a thread its current context may be gone before its tasks. A panic there would abort the process.
#[test]
fn a_runtime_of_a_thread_ends_with_it() {
    type Owned = (Runtime, Box<dyn std::any::Any>);
    thread_local! {
        static OWNED: RefCell<Option<Owned>> = const { RefCell::new(None) };
    }
    let recorder = Recorder::new();
    let (task, future) = (span(&recorder, "task"), span(&recorder, "future"));
    let channel = jobs(&recorder);
    let ending = std::thread::spawn(move || {
        // Before the context's, whose destructor then runs first.
        OWNED.with_borrow(|owned| assert!(owned.is_none()));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            drop(otel_tasks::spawn(std::future::pending::<()>()));
            drop(spawn_with_span(task, std::future::pending::<()>()));
        });
        let queue = mpsc::channel(channel.clone(), 1);
        queue.0.try_send(1).unwrap();
        let news = broadcast::channel(channel, 1);
        news.0.send(1).unwrap();
        // tokio catches panics of its own tasks' drops, not of this one.
        let wrapped = future.wrap(std::future::pending::<()>());
        OWNED.set(Some((runtime, Box::new((queue, news, wrapped)))));
    });
    ending.join().unwrap();
    assert_eq!(error_type(&recorder.span("task")).as_deref(), Some("cancelled"));
    assert_eq!(error_type(&recorder.span("future")).as_deref(), Some("cancelled"));
    assert_eq!(dropped(&recorder), 2.0);
    recorder.assert_clean();
}

#[test]
fn items_that_other_code_drops_are_counted_on_request() {
    let recorder = Recorder::new();
    jobs(&recorder).count_dropped(3);
    assert_eq!(dropped(&recorder), 3.0);
}
