//! Broadcast channels: the context for each receiver, tokio's errors, and the items that a receiver has missed.

use std::time::Duration;

use opentelemetry::trace::{FutureExt as _, SpanId};
use otel_tasks::sync::broadcast;
use otel_tasks::{Channel, in_context};
use otel_testing::Recorder;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::timeout;

use crate::support::{current, error_type, remote, tasks};

const LIMIT: Duration = Duration::from_secs(10);

fn prices(recorder: &Recorder) -> Channel {
    Channel::new("prices").with_instrumentation(&tasks(recorder))
}

fn dropped(recorder: &Recorder) -> f64 {
    recorder.metric("channel.dropped.items").with("channel.name", "prices").sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_receiver_processes_each_item_in_the_context_of_its_sender() {
    let recorder = Recorder::new();
    let (sender, first) = broadcast::channel(prices(&recorder), 8);
    let receivers = [first, sender.subscribe(), sender.subscribe()];
    let workers: Vec<_> = receivers
        .into_iter()
        .map(|mut receiver| {
            tokio::spawn(async move {
                let mut seen = Vec::new();
                while let Ok(output) = receiver.process(async |price: u32| (price, current())).await {
                    seen.push(output.0);
                }
                seen
            })
        })
        .collect();
    for (id, price) in [(7, 1), (8, 2)] {
        assert_eq!(in_context(&remote(id, true), || sender.send(price)).unwrap(), 3);
    }
    drop(sender);
    for worker in workers {
        assert_eq!(timeout(LIMIT, worker).await.unwrap().unwrap(), [1, 2]);
    }
    let parents = |id| recorder.spans().iter().filter(|span| span.parent_span_id == SpanId::from(id)).count();
    assert_eq!((parents(7), parents(8)), (3, 3));
    assert!(recorder.spans().iter().all(|span| span.links.iter().count() == 1));
    assert_eq!(recorder.metric("channel.queue.duration").with("channel.name", "prices").count(), 6);
    assert_eq!(recorder.metric("channel.process.duration").count(), 6);
    assert!(!recorder.metrics().contains("channel.queue.depth"), "each receiver has a depth of its own");
    assert!(!recorder.metrics().contains("channel.dropped.items"));
    recorder.assert_clean();
}

#[tokio::test]
async fn each_item_is_received_or_counted_as_dropped() {
    let recorder = Recorder::new();
    let (sender, mut slow) = broadcast::channel(prices(&recorder), 2);
    let mut other = sender.subscribe();
    for price in 1..=5 {
        sender.send(price).unwrap();
    }
    assert_eq!(slow.recv().await.unwrap_err(), RecvError::Lagged(3));
    assert_eq!(dropped(&recorder), 3.0);
    assert_eq!(other.try_recv().unwrap_err(), TryRecvError::Lagged(3));
    assert_eq!(dropped(&recorder), 6.0);
    assert_eq!(slow.recv().await.unwrap().into_inner(), 4);
    assert_eq!((slow.len(), sender.len()), (1, 2));
    drop(slow);
    assert_eq!(dropped(&recorder), 7.0, "an item that was not received");
    let mut other = tokio::task::spawn_blocking(move || {
        assert_eq!(other.blocking_recv().unwrap().into_inner(), 4);
        for price in 6..=8 {
            sender.send(price).unwrap();
        }
        assert_eq!(other.blocking_recv().unwrap_err(), RecvError::Lagged(2));
        other
    })
    .await
    .unwrap();
    assert_eq!(dropped(&recorder), 9.0);
    assert_eq!(other.process(async |price| price).await.unwrap(), 7);
    assert_eq!(other.try_recv().unwrap().into_inner(), 8);
    assert_eq!(other.try_recv().unwrap_err(), TryRecvError::Closed);
    drop(other);
    assert_eq!(dropped(&recorder), 9.0);
    assert_eq!(recorder.metric("channel.queue.duration").count(), 4);
    recorder.assert_clean();
}

#[tokio::test]
async fn the_errors_and_the_names_are_tokios() {
    let recorder = Recorder::new();
    let sender = broadcast::Sender::new(prices(&recorder), 2);
    assert_eq!(sender.send(1).unwrap_err().0, 1, "nobody receives it");
    assert_eq!(timeout(LIMIT, sender.closed()).await, Ok(()));
    let mut receiver = sender.subscribe();
    assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Empty);
    let weak = sender.downgrade();
    assert_eq!((sender.strong_count(), weak.weak_count(), sender.receiver_count()), (1, 1, 1));
    weak.upgrade().unwrap().send(2).unwrap();
    let mut late = receiver.resubscribe();
    assert!(receiver.same_channel(&late) && sender.same_channel(&sender.clone()));
    assert!(late.is_empty() && !receiver.is_empty() && !sender.is_empty());
    assert_eq!(*receiver.recv().await.unwrap(), 2);
    drop(sender);
    assert!(weak.clone().upgrade().is_none());
    assert_eq!(receiver.recv().await.unwrap_err(), RecvError::Closed);
    assert_eq!(late.process(async |price| price).await.unwrap_err(), RecvError::Closed);
    assert_eq!(receiver.channel().process_sync(otel_tasks::WithContext::new(3), |price| price), 3);
    drop((receiver, late));
    assert!(!recorder.metrics().contains("channel.dropped.items"));
    recorder.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_panics_takes_nothing_from_the_others() {
    let recorder = Recorder::new();
    let (sender, mut failing) = broadcast::channel(prices(&recorder), 8);
    let mut other = sender.subscribe();
    sender.send(1).unwrap();
    sender.send(2).unwrap();
    let worker =
        tokio::spawn(async move { failing.process(async |_| -> u32 { panic!("on purpose") }).await });
    assert!(timeout(LIMIT, worker).await.unwrap().unwrap_err().is_panic());
    assert_eq!(dropped(&recorder), 1.0, "the second item, with the receiver");
    let abandoned = other.process(async |_| std::future::pending::<u32>().await);
    timeout(Duration::from_millis(1), abandoned).await.unwrap_err();
    assert_eq!(other.process(async |price| price).with_context(remote(7, true)).await, Ok(2));
    let ends: Vec<_> = recorder.spans().iter().map(error_type).collect();
    assert_eq!(ends, [Some("panic".into()), Some("cancelled".into()), None]);
    recorder.assert_clean();
}
