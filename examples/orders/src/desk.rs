//! The returns desk: a group whose members process concurrently. A second member joins while handlers run.

use std::collections::BTreeSet;
use std::time::Duration;

use otel_kafka::{BorrowedMessage, Lanes};
use rdkafka::Message as _;
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};
use tokio::sync::{oneshot, watch};

use crate::clients::{Clients, Consumer, check_fatal};
use crate::cluster::Cluster;
use crate::reports::{Reporter, Stop};

/// The time that a member waits for its handlers before it gives their partitions back.
const DRAIN_DEADLINE: Duration = Duration::from_secs(1);

/// The customers who answer the desk's question.
pub(crate) struct Customers(watch::Sender<BTreeSet<&'static str>>);

/// The desk's view of the customers.
#[derive(Clone, Debug)]
pub(crate) struct Answers(watch::Receiver<BTreeSet<&'static str>>);

impl Customers {
    pub(crate) fn new() -> (Self, Answers) {
        let (sender, receiver) = watch::channel(BTreeSet::new());
        (Self(sender), Answers(receiver))
    }

    /// Makes the customers answer, now and when they are asked later.
    pub(crate) fn answer(&self, names: &[&'static str]) {
        self.0.send_modify(|answering| answering.extend(names));
    }
}

impl Answers {
    async fn of(&self, customer: &str) {
        // Fails if the script has ended, and the desk is then stopped.
        let _ = self.0.clone().wait_for(|answering| answering.contains(customer)).await;
    }
}

/// One member of the group.
pub(crate) struct Desk {
    pub(crate) consumer: Consumer,
    topic: String,
    answers: Answers,
    reports: Reporter,
}

impl Desk {
    pub(crate) fn new(
        cluster: &Cluster,
        clients: &Clients<'_>,
        answers: Answers,
        reports: Reporter,
    ) -> KafkaResult<Self> {
        Ok(Self { consumer: clients.member("desk")?, topic: cluster.name("returns"), answers, reports })
    }

    /// Joins the group when `opens` completes, and leaves it when `leaves` says so.
    pub(crate) async fn run_between(
        self,
        opens: oneshot::Receiver<()>,
        leaves: Stop,
        mut stop: Stop,
    ) -> KafkaResult<()> {
        if opens.await.is_ok() {
            self.run(leaves).await?;
        }
        // A service does not end before it is asked to.
        stop.requested().await;
        Ok(())
    }

    pub(crate) async fn run(self, mut stop: Stop) -> KafkaResult<()> {
        self.consumer.subscribe(&[&self.topic])?;
        let mut stop = std::pin::pin!(stop.requested());
        let lanes = Lanes::new(4).with_drain_deadline(DRAIN_DEADLINE);
        let handler = |message| self.refund(message);
        while let Err(error) = self.consumer.for_each_concurrent(lanes, stop.as_mut(), handler).await {
            check_fatal(error)?;
        }
        Ok(())
    }

    /// Runs inside the message's `process` span. If the partition is revoked and the customer does not answer before the
    /// deadline, this future is dropped, and the next owner of the partition asks again.
    async fn refund(&self, message: BorrowedMessage<'_>) -> Result<(), KafkaError> {
        let customer = String::from_utf8_lossy(message.key().unwrap_or_default());
        let text = String::from_utf8_lossy(message.payload().unwrap_or_default());
        self.reports.send(format_args!("asks {customer} about {text:?}"));
        let mut pending = Pending { text: Some(&text), reports: &self.reports };
        self.answers.of(&customer).await;
        pending.text = None;
        self.consumer.commit_message(&message, CommitMode::Async)?;
        self.reports.send(format_args!("refunds {text:?}"));
        Ok(())
    }
}

/// A refund that has begun. Its drop is reported unless it has ended.
struct Pending<'a> {
    text: Option<&'a str>,
    reports: &'a Reporter,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if let Some(text) = self.text {
            self.reports.send(format_args!("leaves {text:?} to the next owner"));
        }
    }
}
