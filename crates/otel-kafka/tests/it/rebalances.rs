//! Rebalances: they are counted, and the user's context is called.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use otel_kafka::{ConsumerContext, StreamConsumer, TracedConsumerContext};
use otel_testing::Recorder;
use rdkafka::ClientContext;
use rdkafka::consumer::{CommitMode, Consumer, Rebalance};

use crate::support::{cluster, consumer_config, error_type, options, until, write};

struct Mine(mpsc::Sender<(&'static str, usize, usize)>);

impl ClientContext for Mine {}

impl ConsumerContext for Mine {
    fn pre_rebalance(
        &self,
        consumer: &impl Consumer<TracedConsumerContext<Self>>,
        rebalance: &Rebalance<'_>,
    ) {
        self.tell("pre", consumer, rebalance);
    }

    fn post_rebalance(
        &self,
        consumer: &impl Consumer<TracedConsumerContext<Self>>,
        rebalance: &Rebalance<'_>,
    ) {
        self.tell("post", consumer, rebalance);
    }
}

impl Mine {
    fn tell(
        &self,
        when: &'static str,
        consumer: &impl Consumer<TracedConsumerContext<Self>>,
        rebalance: &Rebalance<'_>,
    ) {
        // A consumer that is being closed does not report its assignment.
        let (listed, has) = match rebalance {
            Rebalance::Assign(list) => (list.count(), consumer.assignment().unwrap().count()),
            Rebalance::Revoke(list) => (list.count(), 0),
            Rebalance::Error(error) => panic!("{error}"),
        };
        self.0.send((when, listed, has)).unwrap();
    }
}

async fn rebalanced(strategy: &str) {
    let (recorder, cluster) = (Recorder::new(), cluster(3));
    let (sender, seen) = mpsc::channel();
    let mut config = consumer_config(&cluster);
    config.set("partition.assignment.strategy", strategy);
    let consumer: StreamConsumer<Mine> = config.create_with_context(Mine(sender)).unwrap();
    let consumer = consumer.with_options(options(&recorder));
    consumer.subscribe(&["orders"]).unwrap();
    let assigned = until("the assignment", || consumer.assignment().unwrap().count() == 3);
    tokio::select! {
        _ = consumer.recv() => panic!("there is no message"),
        () = assigned => {}
    }
    drop(consumer);
    let expected = [("pre", 3, 0), ("post", 3, 3), ("pre", 3, 0), ("post", 3, 0)];
    assert_eq!(seen.iter().collect::<Vec<_>>(), expected);
    for kind in ["assign", "revoke"] {
        let rebalances = recorder.metric("messaging.kafka.rebalances");
        let rebalances = rebalances.with("messaging.kafka.rebalance.type", kind);
        assert_eq!(
            rebalances.with("messaging.consumer.group.name", "till").sum(),
            1.0,
            "{}",
            recorder.metrics()
        );
    }
    assert_eq!(recorder.spans().len(), 0);
}

/// A context that commits before partitions are released.
struct Committing;

impl ClientContext for Committing {}

impl ConsumerContext for Committing {
    fn pre_rebalance(
        &self,
        consumer: &impl Consumer<TracedConsumerContext<Self>>,
        rebalance: &Rebalance<'_>,
    ) {
        if let Rebalance::Revoke(_) = rebalance {
            consumer.commit_consumer_state(CommitMode::Sync).unwrap();
        }
    }
}

#[tokio::test]
async fn a_commit_in_a_hook_is_a_span() {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    write(&cluster, &[("a", None)]).await;
    let consumer: StreamConsumer<Committing> =
        consumer_config(&cluster).create_with_context(Committing).unwrap();
    let consumer = consumer.with_options(options(&recorder));
    consumer.subscribe(&["orders"]).unwrap();
    drop(consumer.recv().await.unwrap());
    consumer.unsubscribe();
    let released = until("the commit", || !recorder.spans().is_empty());
    tokio::select! {
        message = consumer.recv() => panic!("{message:?}"),
        () = released => {}
    }
    assert_eq!(error_type(&recorder.span("commit")), None);
    recorder.assert_clean();
}

/// A context that needs longer for a revocation than librdkafka for closing a consumer, and then reports `true` if the
/// consumer is not closed.
struct Slow(mpsc::Sender<bool>);

impl ClientContext for Slow {}

impl ConsumerContext for Slow {
    fn pre_rebalance(
        &self,
        consumer: &impl Consumer<TracedConsumerContext<Self>>,
        rebalance: &Rebalance<'_>,
    ) {
        if let Rebalance::Revoke(_) = rebalance {
            thread::sleep(Duration::from_millis(300));
            let _ = self.0.send(consumer.subscription().is_ok());
        }
    }
}

/// The revocation is in the queue of the first member when it is dropped. librdkafka does not answer a call that a consumer
/// makes while it is being closed, so the revocation has to be served before.
#[tokio::test]
async fn a_member_that_closes_during_a_rebalance_serves_it_before() {
    let cluster = cluster(2);
    let mut config = consumer_config(&cluster);
    config.set("heartbeat.interval.ms", "100");
    let (sender, open) = mpsc::channel();
    let member = || -> StreamConsumer<Slow> { config.create_with_context(Slow(sender.clone())).unwrap() };
    let (first, second) = (member(), member());
    first.subscribe(&["orders"]).unwrap();
    let assigned = until("the assignment", || first.assignment().unwrap().count() == 2);
    tokio::select! {
        _ = first.recv() => panic!("there is no message"),
        () = assigned => {}
    }
    second.subscribe(&["orders"]).unwrap();
    // Far longer than the interval of the heartbeats, by which the first member learns of the second.
    tokio::time::sleep(Duration::from_secs(3)).await;
    drop(first);
    assert_eq!(open.try_iter().collect::<Vec<_>>(), [true]);
}

#[tokio::test]
async fn eager_ones_are_counted_and_carried_out() {
    rebalanced("range").await;
}

#[tokio::test]
async fn cooperative_ones_are_counted_and_carried_out() {
    rebalanced("cooperative-sticky").await;
}
