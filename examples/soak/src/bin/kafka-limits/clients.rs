//! The clients of otel-kafka and of rdkafka, reduced to what a run needs.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use otel_operation::Outcome;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::producer::{FutureRecord, Producer as _};

use crate::plan::Record;

/// The timeout of an operation.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The three kinds of producers that must not send a record again after its successors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Transactional,
    Gapless,
    Idempotent,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Transactional, Self::Gapless, Self::Idempotent];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Transactional => "transactional",
            Self::Gapless => "gapless",
            Self::Idempotent => "idempotent",
        }
    }

    /// Returns the configuration of the producer. A topic whose limit is below the size of a batch gets headers only if each
    /// record is a batch of its own.
    pub(crate) fn config(self, address: &str, topic: &str) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", address).set("linger.ms", "2");
        match self {
            Self::Transactional => config.set("transactional.id", topic).set("batch.num.messages", "1"),
            Self::Gapless => config
                .set("enable.idempotence", "true")
                .set("enable.gapless.guarantee", "true")
                .set("batch.num.messages", "1"),
            Self::Idempotent => {
                config.set("enable.idempotence", "true").set("batch.size", crate::plan::LIMIT.to_string())
            }
        };
        config
    }
}

/// An operation of a transaction, by the name of its span.
#[derive(Clone, Copy)]
pub(crate) enum Step {
    Init,
    Begin,
    Commit,
    Abort,
}

impl Step {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Init => "init_transactions",
            Self::Begin => "begin_transaction",
            Self::Commit => "commit_transaction",
            Self::Abort => "abort_transaction",
        }
    }
}

/// A producer of otel-kafka or rdkafka.
pub(crate) trait Producer: Send + Sync + 'static {
    /// Enqueues a record, and returns the future of its delivery.
    fn enqueue(
        &self,
        record: FutureRecord<'_, str, [u8]>,
    ) -> KafkaResult<BoxFuture<'static, KafkaResult<()>>>;

    fn run(&self, step: Step) -> KafkaResult<()>;
}

macro_rules! impl_producer {
    ($producer:ty) => {
        impl Producer for $producer {
            fn enqueue(
                &self,
                record: FutureRecord<'_, str, [u8]>,
            ) -> KafkaResult<BoxFuture<'static, KafkaResult<()>>> {
                let delivery = self.send_result(record).map_err(|(error, _)| error)?;
                Ok(delivery
                    .map(|delivered| match delivered {
                        Ok(delivered) => delivered.map(drop).map_err(|(error, _)| error),
                        Err(_) => Err(KafkaError::Canceled),
                    })
                    .boxed())
            }

            fn run(&self, step: Step) -> KafkaResult<()> {
                tokio::task::block_in_place(|| match step {
                    Step::Init => self.init_transactions(PATIENCE),
                    Step::Begin => self.begin_transaction(),
                    Step::Commit => self.commit_transaction(PATIENCE),
                    Step::Abort => self.abort_transaction(PATIENCE),
                })
            }
        }
    };
}

impl_producer!(rdkafka::producer::FutureProducer);
impl_producer!(otel_kafka::FutureProducer);

/// A consumer of otel-kafka or rdkafka.
pub(crate) trait Consumer {
    /// Returns the next record, which is then processed. `None` if there was none for a while.
    fn next(&self, seed: u64) -> Option<KafkaResult<Record>>;
}

/// The longest time of one poll.
const POLL: Duration = Duration::from_millis(100);

impl Consumer for rdkafka::consumer::BaseConsumer {
    fn next(&self, seed: u64) -> Option<KafkaResult<Record>> {
        Some(self.poll(POLL)?.map(|message| Record::new(seed, &message)))
    }
}

impl Consumer for otel_kafka::BaseConsumer {
    fn next(&self, seed: u64) -> Option<KafkaResult<Record>> {
        Some(self.poll(POLL)?.map(|message| {
            message.processing().finish(&Outcome::ok());
            Record::new(seed, &message)
        }))
    }
}
