//! Creation of producers and consumers: the same as with rdkafka, except for the imports and the options.

use otel_kafka::{
    BorrowedMessage, ConsumerContext, FutureProducer, Options, StreamConsumer, TracedConsumerContext,
};
use rdkafka::consumer::{Consumer as _, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{ClientConfig, ClientContext};
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::warn;

use crate::cluster::Cluster;
use crate::reports::Stop;
use crate::{Failure, PATIENCE};

/// Creates the clients of one service.
#[derive(Clone, Debug)]
pub(crate) struct Clients<'a> {
    cluster: &'a Cluster,
    config: ClientConfig,
    options: Options,
}

impl<'a> Clients<'a> {
    pub(crate) fn new(cluster: &'a Cluster, options: Options) -> Self {
        Self { cluster, config: cluster.config(), options }
    }

    /// Sets `client.id`, which also becomes an attribute of the clients' spans.
    pub(crate) fn with_client_id(mut self, id: &str) -> Self {
        self.config.set("client.id", id);
        self
    }

    pub(crate) fn producer(&self) -> KafkaResult<FutureProducer> {
        let producer: FutureProducer = self.config.create()?;
        Ok(producer.with_options(self.options.clone()))
    }

    /// Creates a transactional producer. Initializing it aborts an unfinished transaction of an earlier run.
    pub(crate) fn transactional(&self, name: &str) -> KafkaResult<FutureProducer> {
        let mut config = self.config.clone();
        config.set("transactional.id", self.cluster.name(name));
        // If the broker has acknowledged a record before the transaction is aborted, its span has no error. The delay
        // keeps records in the queue, so that the demonstration shows the error; a commit flushes without delay.
        config.set("linger.ms", "1000");
        let producer: FutureProducer = config.create()?;
        Ok(producer.with_options(self.options.clone()))
    }

    /// Creates a consumer of one topic in a group.
    pub(crate) fn consumer(&self, group: &str, topic: &str) -> KafkaResult<Consumer> {
        let consumer = self.member(group)?;
        consumer.subscribe(&[topic])?;
        Ok(consumer)
    }

    /// Creates a consumer that has not subscribed to a topic.
    pub(crate) fn member(&self, group: &str) -> KafkaResult<Consumer> {
        let mut config = self.config.clone();
        config
            .set("group.id", self.cluster.name(group))
            .set("auto.offset.reset", "earliest")
            .set("enable.auto.commit", "false")
            // A member learns of a rebalance with its next heartbeat.
            .set("session.timeout.ms", "6000")
            .set("heartbeat.interval.ms", "200");
        let consumer: Consumer = config.create_with_context(Member::default())?;
        Ok(consumer.with_options(self.options.clone()))
    }
}

/// A consumer that counts its assigned partitions.
pub(crate) type Consumer = StreamConsumer<Member>;

/// A custom consumer context, as an application may have one.
#[derive(Debug, Default)]
pub(crate) struct Member {
    partitions: watch::Sender<usize>,
}

impl ClientContext for Member {}

impl ConsumerContext for Member {
    fn post_rebalance(
        &self,
        _: &impl rdkafka::consumer::Consumer<TracedConsumerContext<Self>>,
        rebalance: &Rebalance<'_>,
    ) {
        self.partitions.send_replace(match rebalance {
            Rebalance::Assign(partitions) => partitions.count(),
            _ => 0,
        });
    }
}

/// Returns the next message; `None` after a request to stop.
pub(crate) async fn next<'c>(
    consumer: &'c Consumer,
    stop: &mut Stop,
) -> KafkaResult<Option<BorrowedMessage<'c>>> {
    loop {
        let received = tokio::select! {
            () = stop.requested() => return Ok(None),
            received = consumer.recv() => received,
        };
        match received {
            Ok(message) => return Ok(Some(message)),
            Err(error) => check_fatal(error)?,
        }
    }
}

/// Returns fatal errors and logs the others, from which the client recovers: an unreachable broker, or a new topic that
/// is not yet known to all brokers.
pub(crate) fn check_fatal(error: KafkaError) -> KafkaResult<()> {
    if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
        return Err(error);
    }
    warn!(%error, "receive failed; the client retries");
    Ok(())
}

/// The number of partitions assigned to a consumer, observed from outside the task that owns it.
pub(crate) struct Assignment(watch::Receiver<usize>);

impl Assignment {
    pub(crate) fn new(consumer: &Consumer) -> Self {
        Self(consumer.context().partitions.subscribe())
    }

    /// Waits until the consumer has this many partitions.
    pub(crate) async fn wait_for(&mut self, count: usize) -> Result<(), Failure> {
        match timeout(PATIENCE, self.0.wait_for(|partitions| *partitions == count)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err("a consumer was dropped before it joined its group".into()),
            Err(_) => {
                Err(format!("a consumer was not assigned {count} partitions within {PATIENCE:?}").into())
            }
        }
    }
}
