//! How producers and consumers are made: as with rdkafka, but for the types' crate and the options.

use otel_kafka::{BorrowedMessage, ConsumerContext, FutureProducer, Options, StreamConsumer, Traced};
use rdkafka::consumer::{Consumer as _, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{ClientConfig, ClientContext};
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::warn;

use crate::cluster::Cluster;
use crate::reports::Stop;
use crate::{Failure, PATIENCE};

/// Makes the clients of one service.
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

    /// The same with a `client.id`, which their spans have, too.
    pub(crate) fn named(mut self, id: &str) -> Self {
        self.config.set("client.id", id);
        self
    }

    pub(crate) fn producer(&self) -> KafkaResult<FutureProducer> {
        let producer: FutureProducer = self.config.create()?;
        Ok(producer.with_options(self.options.clone()))
    }

    /// A producer of transactions; what one of its name has left undone is aborted when it begins.
    pub(crate) fn transactional(&self, name: &str) -> KafkaResult<FutureProducer> {
        let mut config = self.config.clone();
        config.set("transactional.id", self.cluster.name(name));
        // A record that the broker has already when its transaction is aborted was delivered, and its span says that,
        // though nobody will read it. For the picture's sake records wait so long that they are still here; a commit
        // waits for nothing.
        config.set("linger.ms", "1000");
        let producer: FutureProducer = config.create()?;
        Ok(producer.with_options(self.options.clone()))
    }

    /// A consumer of one topic, in a group.
    pub(crate) fn consumer(&self, group: &str, topic: &str) -> KafkaResult<Consumer> {
        let mut config = self.config.clone();
        config
            .set("group.id", self.cluster.name(group))
            .set("auto.offset.reset", "earliest")
            .set("enable.auto.commit", "false")
            // A member learns with its heartbeat that there is another one.
            .set("session.timeout.ms", "6000")
            .set("heartbeat.interval.ms", "200");
        let consumer: Consumer = config.create_with_context(Member::default())?;
        consumer.subscribe(&[topic])?;
        Ok(consumer.with_options(self.options.clone()))
    }
}

/// A consumer that knows how many partitions it has.
pub(crate) type Consumer = StreamConsumer<Member>;

/// A consumer's context, as an application may have one of its own.
#[derive(Debug, Default)]
pub(crate) struct Member {
    partitions: watch::Sender<usize>,
}

impl ClientContext for Member {}

impl ConsumerContext for Member {
    fn post_rebalance(&self, _: &impl rdkafka::consumer::Consumer<Traced<Self>>, rebalance: &Rebalance<'_>) {
        self.partitions.send_replace(match rebalance {
            Rebalance::Assign(partitions) => partitions.count(),
            _ => 0,
        });
    }
}

/// The next message; `None` if it is time to stop.
pub(crate) async fn next<'c>(
    consumer: &'c Consumer,
    stop: &mut Stop,
) -> KafkaResult<Option<BorrowedMessage<'c>>> {
    loop {
        let received = tokio::select! {
            () = stop.wanted() => return Ok(None),
            received = consumer.recv() => received,
        };
        match received {
            Ok(message) => return Ok(Some(message)),
            Err(error) => mended(error)?,
        }
    }
}

/// Gives back what the client cannot mend by itself, as it can when a broker is away, or a topic is not known
/// everywhere yet.
pub(crate) fn mended(error: KafkaError) -> KafkaResult<()> {
    if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
        return Err(error);
    }
    warn!(%error, "receiving");
    Ok(())
}

/// What a consumer's partitions are counted with, from outside of the task that has it.
pub(crate) struct Joined(watch::Receiver<usize>);

impl Joined {
    pub(crate) fn of(consumer: &Consumer) -> Self {
        Self(consumer.context().partitions.subscribe())
    }

    /// Waits until the consumer has so many partitions.
    pub(crate) async fn partitions(&mut self, count: usize) -> Result<(), Failure> {
        match timeout(PATIENCE, self.0.wait_for(|partitions| *partitions == count)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err("a consumer is gone".into()),
            Err(_) => Err(format!("a consumer did not get {count} partitions within {PATIENCE:?}").into()),
        }
    }
}
