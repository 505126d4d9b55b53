//! Two members of a group: what they do with each message is chosen by its number, and counted.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::{Either, select};
use otel_operation::Outcome;
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::message::BorrowedMessage;
use soak::{Class, Random, Tally};
use tokio::sync::Notify;

use crate::ledger::Ledger;

/// Each of so many messages is committed, and with it those before it.
const COMMITTED: u64 = 50;

/// How many messages are in hand where partitions are processed side by side.
const LIMIT: usize = 16;

/// What a member shares with the others.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) observed: Tally,
    pub(crate) seed: u64,
    pub(crate) stop: Arc<Notify>,
    /// Told of each message.
    pub(crate) progress: Arc<dyn Fn() + Send + Sync>,
}

/// The error of a handler.
#[derive(Debug)]
struct Refused;

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Good,
    ByHand,
    Failed,
    Panic,
    Dropped,
}

impl Member {
    fn end(&self, number: u64) -> End {
        match Random::new(!self.seed, number).below(100) {
            0..60 => End::Good,
            60..88 => End::ByHand,
            88..92 => End::Failed,
            92..96 => End::Panic,
            _ => End::Dropped,
        }
    }

    fn arrive(&self, message: &BorrowedMessage<'_>) -> u64 {
        let number = self.ledger.arrive(message);
        (self.progress)();
        number
    }

    fn count(&self, operation: &str, error: Option<&str>) {
        let mut class = Class::default();
        class.operation = Some(operation.to_owned());
        class.error = error.map(str::to_owned);
        self.observed.add(class);
    }

    fn processed(&self, end: End) {
        self.count(
            "process",
            match end {
                End::Good | End::ByHand => None,
                End::Failed => Some(std::any::type_name::<Refused>()),
                End::Panic => Some("panic"),
                End::Dropped => Some("cancelled"),
            },
        );
    }

    fn commit(&self, number: u64, commit: impl FnOnce() -> rdkafka::error::KafkaResult<()>) {
        if number.is_multiple_of(COMMITTED) {
            let code = commit().err().and_then(|error| error.rdkafka_error_code());
            self.count("commit", code.map(|code| format!("{code:?}")).as_deref());
        }
    }

    /// rdkafka's own consumer.
    pub(crate) async fn bare(self, consumer: rdkafka::consumer::StreamConsumer) {
        let mut stop = pin!(self.stop.notified());
        loop {
            let received = pin!(consumer.recv());
            match select(stop.as_mut(), received).await {
                Either::Left(_) => return,
                // The broker is away for a while.
                Either::Right((Err(_), _)) => {}
                Either::Right((Ok(message), _)) => {
                    let number = self.arrive(&message);
                    self.commit(number, || consumer.commit_message(&message, CommitMode::Async));
                }
            }
        }
    }

    /// Messages one by one, each handled in one of the ways that there are, which fail, panic or are given up.
    pub(crate) async fn one_by_one(self, consumer: otel_kafka::StreamConsumer) {
        let mut stop = pin!(self.stop.notified());
        loop {
            let received = pin!(consumer.recv());
            match select(stop.as_mut(), received).await {
                Either::Left(_) => return,
                Either::Right((Err(_), _)) => {}
                Either::Right((Ok(message), _)) => {
                    let number = self.handle(&message).await;
                    self.commit(number, || consumer.commit_message(&message, CommitMode::Async));
                }
            }
        }
    }

    async fn handle(&self, message: &otel_kafka::BorrowedMessage<'_>) -> u64 {
        let number = self.arrive(message);
        let end = self.end(number);
        match end {
            End::Good => message.process(async |_| ()).await,
            End::ByHand => message.processing().finish(&Outcome::ok()),
            End::Failed => drop(message.process(async |_| Err::<(), _>(Refused)).await),
            End::Panic => {
                // The hook says nothing of such a panic: there are thousands.
                let run = message.process(async |_| -> () { std::panic::resume_unwind(Box::new("planned")) });
                let _ = AssertUnwindSafe(run).catch_unwind().await;
            }
            End::Dropped => {
                let run = pin!(message.process(async |_| std::future::pending::<()>().await));
                let _ = run.now_or_never();
            }
        }
        self.processed(end);
        number
    }

    /// Partitions side by side.
    pub(crate) async fn side_by_side(self, consumer: otel_kafka::StreamConsumer) {
        let mut stop = pin!(self.stop.notified());
        let handler = async |message: BorrowedMessage<'_>| {
            let number = self.arrive(&message);
            let fails = self.end(number) == End::Failed;
            self.commit(number, || consumer.commit_message(&message, CommitMode::Async));
            self.processed(if fails { End::Failed } else { End::Good });
            if fails { Err(Refused) } else { Ok(()) }
        };
        // The broker is away for a while.
        while consumer.for_each_concurrent(LIMIT, stop.as_mut(), &handler).await.is_err() {}
    }
}
