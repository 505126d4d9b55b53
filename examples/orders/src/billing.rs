//! Billing, which reads a payment, writes a receipt and notes the payment as read, all of it or nothing: a transaction.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use otel_kafka::{FutureProducer, Handled};
use otel_operation::Outcome;
use rdkafka::consumer::Consumer as _;
use rdkafka::message::BorrowedMessage;
use rdkafka::producer::{FutureRecord, Producer as _};
use rdkafka::{Message as _, Offset, TopicPartitionList};
use tokio::task::block_in_place;

use crate::clients::{Clients, Consumer, next};
use crate::cluster::Cluster;
use crate::reports::{Reports, Stop};
use crate::{Failure, PATIENCE};

/// The bank, which is sometimes away.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bank(Arc<AtomicBool>);

impl Bank {
    /// The next question is not answered.
    pub(crate) fn is_away_once(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn answers(&self) -> bool {
        !self.0.swap(false, Ordering::Relaxed)
    }
}

/// The service.
pub(crate) struct Billing {
    pub(crate) consumer: Consumer,
    producer: FutureProducer,
    receipts: String,
    bank: Bank,
    reports: Reports,
}

/// What became of a payment, which is how its `process` span ends.
enum Billed {
    Committed,
    Aborted,
    /// Neither was possible. The cluster aborts the transaction when this producer's name comes back.
    Stuck(Failure),
}

impl Handled for Billed {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Committed => Outcome::ok(),
            Self::Aborted => Outcome::error("bank_away"),
            Self::Stuck(_) => Outcome::error("stuck"),
        }
    }
}

impl Billing {
    pub(crate) fn new(
        cluster: &Cluster,
        clients: &Clients<'_>,
        bank: Bank,
        reports: Reports,
    ) -> Result<Self, Failure> {
        let producer = clients.transactional("billing")?;
        block_in_place(|| producer.init_transactions(PATIENCE))?;
        Ok(Self {
            consumer: clients.consumer("billing", &cluster.name("payments"))?,
            producer,
            receipts: cluster.name("receipts"),
            bank,
            reports,
        })
    }

    pub(crate) async fn run(self, mut stop: Stop) -> Result<(), Failure> {
        while let Some(payment) = next(&self.consumer, &mut stop).await? {
            // The operations of a transaction block. Blocking in place leaves the span's context on the thread, where
            // they find it; a task elsewhere would have to be given it.
            let attempt = || {
                payment.process(async |payment| {
                    block_in_place(|| self.bill(payment)).unwrap_or_else(Billed::Stuck)
                })
            };
            // Nothing of an attempt that was aborted is seen by anybody, so that the next one may begin anew.
            loop {
                match attempt().await {
                    Billed::Committed => break,
                    Billed::Aborted => {}
                    Billed::Stuck(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    fn bill(&self, payment: &BorrowedMessage<'_>) -> Result<Billed, Failure> {
        let text = String::from_utf8_lossy(payment.payload().unwrap_or_default());
        let receipt = format!("receipt for {text}");
        self.producer.begin_transaction()?;
        let record =
            FutureRecord::to(&self.receipts).key(payment.key().unwrap_or_default()).payload(&receipt);
        // Nobody awaits the broker's word: the commit does, and the span ends with it all the same.
        self.producer.send_result(record).map_err(|(error, _)| error)?;
        if !self.bank.answers() {
            self.producer.abort_transaction(PATIENCE)?;
            self.reports.say(format_args!("aborts {text:?}: the bank does not answer"));
            return Ok(Billed::Aborted);
        }
        // The offset goes with the transaction, in place of a commit by the consumer.
        let mut offsets = TopicPartitionList::new();
        let next = Offset::Offset(payment.offset() + 1);
        offsets.add_partition_offset(payment.topic(), payment.partition(), next)?;
        let group = self.consumer.group_metadata().ok_or("billing is in no group")?;
        self.producer.send_offsets_to_transaction(&offsets, &group, PATIENCE)?;
        self.producer.commit_transaction(PATIENCE)?;
        self.reports.say(format_args!("commits {text:?}"));
        Ok(Billed::Committed)
    }
}
