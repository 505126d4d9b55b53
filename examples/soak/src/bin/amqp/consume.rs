//! The consumers. The handling of each message is determined by its number, and its outcome is counted.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicNackOptions};
use lapin::types::FieldTable;
use soak::{End, Tally, add, handle};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use crate::QUEUE;
use crate::ledger::{Arrival, Ledger};
use crate::link::{Bare, Opener as _, Ours};
use crate::send::error_type;

/// The consumers, and the messages that the broker sends to each before it has a settlement.
pub(crate) const CONSUMERS: u64 = 2;
pub(crate) const PREFETCH: u16 = 500;

/// The messages that may wait for their settlement: a restart redelivers at most these.
pub(crate) const MAX_UNACKED: u64 = CONSUMERS * PREFETCH as u64;

/// One copy in this many is rejected at its first delivery, for a further one.
const REQUEUED: u64 = 100;

/// The timeout of a settlement. lapin's future was seen to stay pending after the broker was killed.
const SETTLED: Duration = Duration::from_secs(20);

/// The state that the consumers of a run share.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) observed: Tally,
    pub(crate) seed: u64,
    /// Called for each message.
    pub(crate) progress: Arc<dyn Fn() + Send + Sync>,
}

macro_rules! settle {
    ($member:ident, $arrival:ident, $acker:expr) => {
        if $arrival.is_first && $arrival.number.is_multiple_of(REQUEUED) {
            let nack = BasicNackOptions { requeue: true, ..BasicNackOptions::default() };
            let settled = timeout(SETTLED, $acker.nack(nack)).await;
            if let Ok(Ok(true)) = settled {
                add(&$member.ledger.requeued);
            }
            $member.count_settled("nack", &settled);
        } else {
            let settled = timeout(SETTLED, $acker.ack(BasicAckOptions::default())).await;
            $member.count_settled("ack", &settled);
        }
    };
}

impl Member {
    /// Returns true if all deliveries have been settled, and processed where that is recorded, and all requeued copies have
    /// been delivered again.
    pub(crate) fn is_idle(&self) -> bool {
        let received = self.ledger.received();
        let [settled, processed] =
            [&["ack", "nack"][..], &["process"]].map(|names| self.observed.total(names));
        let requeued = soak::get(&self.ledger.requeued);
        settled >= received
            && (processed == 0 || processed >= received)
            && soak::get(&self.ledger.redelivered) >= requeued
    }

    fn count_settled(&self, operation: &str, settled: &Result<lapin::Result<bool>, Elapsed>) {
        let error = match settled {
            Ok(Ok(true)) => None,
            Ok(Ok(false)) => Some("not_sent".to_owned()),
            Ok(Err(error)) => Some(error_type(error)),
            Err(_) => Some("cancelled".to_owned()),
        };
        self.observed.count(operation, error);
    }

    /// Consumes with lapin.
    pub(crate) async fn consume_bare(self, opener: Bare) {
        loop {
            let channel = opener.channel().await;
            let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
            // An error, or the end of the stream: the broker is being restarted.
            let Ok(mut consumer) = channel.basic_consume(QUEUE.into(), "".into(), options, arguments).await
            else {
                continue;
            };
            while let Some(Ok(delivery)) = consumer.next().await {
                let arrival = self.ledger.arrive(&delivery.properties, &delivery.data);
                (self.progress)();
                settle!(self, arrival, delivery.acker);
            }
        }
    }

    /// Consumes with otel-amqp.
    pub(crate) async fn consume(self, opener: Ours) {
        loop {
            let channel = opener.channel().await;
            let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
            let Ok(mut consumer) = channel.basic_consume(QUEUE.into(), "".into(), options, arguments).await
            else {
                continue;
            };
            while let Some(Ok(delivery)) = consumer.next().await {
                self.handle(delivery).await;
            }
        }
    }

    async fn handle(&self, delivery: otel_amqp::Delivery) {
        let arrival: Arrival = self.ledger.arrive(&delivery.properties, &delivery.data);
        (self.progress)();
        let end = End::new(self.seed, arrival.number);
        handle!(end, delivery, async {});
        end.count(&self.observed);
        settle!(self, arrival, delivery.acker);
    }
}
