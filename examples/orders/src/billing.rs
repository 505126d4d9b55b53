//! The billing service: reads a payment, writes a receipt and commits the offset in one transaction.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use otel_kafka::{FutureProducer, HandlerOutcome};
use otel_operation::Outcome;
use rdkafka::consumer::Consumer as _;
use rdkafka::message::BorrowedMessage;
use rdkafka::producer::{FutureRecord, Producer as _};
use rdkafka::{Message as _, Offset, TopicPartitionList};
use tokio::task::block_in_place;

use crate::clients::{Clients, Consumer, next};
use crate::cluster::Cluster;
use crate::reports::{Reporter, Stop};
use crate::{Failure, PATIENCE};

/// A bank that can be made unavailable for one request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bank(Arc<AtomicBool>);

impl Bank {
    /// Makes the next request fail.
    pub(crate) fn fail_next(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_available(&self) -> bool {
        !self.0.swap(false, Ordering::Relaxed)
    }
}

/// The billing service.
pub(crate) struct Billing {
    pub(crate) consumer: Consumer,
    producer: FutureProducer,
    receipts: String,
    bank: Bank,
    reports: Reporter,
}

/// The result of processing a payment, which determines the outcome of its `process` span.
enum Billed {
    Committed,
    Aborted,
    /// Neither committed nor aborted. The cluster aborts the transaction when a producer with this `transactional.id`
    /// initializes.
    Stuck(Failure),
}

impl HandlerOutcome for Billed {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Committed => Outcome::ok(),
            Self::Aborted => Outcome::error("bank_unavailable"),
            Self::Stuck(_) => Outcome::error("stuck"),
        }
    }
}

impl Billing {
    pub(crate) fn new(
        cluster: &Cluster,
        clients: &Clients<'_>,
        bank: Bank,
        reports: Reporter,
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
            // Transactional operations block. `block_in_place` stays on this thread, where the span's context is
            // attached; `spawn_blocking` would need the context passed to it.
            let attempt = || {
                payment.process(async |payment| {
                    block_in_place(|| self.bill(payment)).unwrap_or_else(Billed::Stuck)
                })
            };
            // Retrying is safe, because no read-committed consumer receives the records of an aborted one.
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
        // The delivery is not awaited: the commit waits for it, and the span still ends with the delivery.
        self.producer.send_result(record).map_err(|(error, _)| error)?;
        if !self.bank.is_available() {
            self.producer.abort_transaction(PATIENCE)?;
            self.reports.send(format_args!("aborts {text:?}: the bank does not answer"));
            return Ok(Billed::Aborted);
        }
        // The offset is committed by the transaction and not by the consumer.
        let mut offsets = TopicPartitionList::new();
        let next = Offset::Offset(payment.offset() + 1);
        offsets.add_partition_offset(payment.topic(), payment.partition(), next)?;
        let group = self.consumer.group_metadata().ok_or("the billing consumer has no group metadata")?;
        self.producer.send_offsets_to_transaction(&offsets, &group, PATIENCE)?;
        self.producer.commit_transaction(PATIENCE)?;
        self.reports.send(format_args!("commits {text:?}"));
        Ok(Billed::Committed)
    }
}
