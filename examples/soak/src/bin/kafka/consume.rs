//! The consumers. The handling of each message is determined by its number, and its outcome is counted.

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

/// The interval of commits: messages whose number is a multiple of it are committed.
const COMMIT_INTERVAL: u64 = 50;

/// The number of messages that are processed concurrently.
const LIMIT: usize = 16;

/// The state that the consumers of a run share.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) observed: Tally,
    pub(crate) seed: u64,
    pub(crate) stop: Arc<Notify>,
    /// Called for each message.
    pub(crate) progress: Arc<dyn Fn() + Send + Sync>,
}

/// The error of a handler.
#[derive(Debug)]
struct HandlerError;

/// The way in which a message is handled.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Success,
    /// Success, with a span that the handler finishes itself.
    Manual,
    Failed,
    Panic,
    Dropped,
}

impl Member {
    fn end(&self, number: u64) -> End {
        match Random::new(!self.seed, number).below(100) {
            0..60 => End::Success,
            60..88 => End::Manual,
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

    fn count_processed(&self, end: End) {
        self.count(
            "process",
            match end {
                End::Success | End::Manual => None,
                End::Failed => Some(std::any::type_name::<HandlerError>()),
                End::Panic => Some("panic"),
                End::Dropped => Some("cancelled"),
            },
        );
    }

    fn commit(&self, number: u64, commit: impl FnOnce() -> rdkafka::error::KafkaResult<()>) {
        if number.is_multiple_of(COMMIT_INTERVAL) {
            let code = commit().err().and_then(|error| error.rdkafka_error_code());
            self.count("commit", code.map(|code| format!("{code:?}")).as_deref());
        }
    }

    /// Runs rdkafka's consumer.
    pub(crate) async fn run_plain(self, consumer: rdkafka::consumer::StreamConsumer) {
        let mut stop = pin!(self.stop.notified());
        loop {
            let received = pin!(consumer.recv());
            match select(stop.as_mut(), received).await {
                Either::Left(_) => return,
                // The broker is being restarted.
                Either::Right((Err(_), _)) => {}
                Either::Right((Ok(message), _)) => {
                    let number = self.arrive(&message);
                    self.commit(number, || consumer.commit_message(&message, CommitMode::Async));
                }
            }
        }
    }

    /// Runs a consumer that handles messages sequentially, with handlers that succeed, fail, panic or are dropped.
    pub(crate) async fn run_sequential(self, consumer: otel_kafka::StreamConsumer) {
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
            End::Success => message.process(async |_| ()).await,
            End::Manual => message.processing().finish(&Outcome::ok()),
            End::Failed => drop(message.process(async |_| Err::<(), _>(HandlerError)).await),
            End::Panic => {
                // `resume_unwind` does not call the panic hook, because there are thousands of panics.
                let run = message.process(async |_| -> () { std::panic::resume_unwind(Box::new("planned")) });
                let _ = AssertUnwindSafe(run).catch_unwind().await;
            }
            End::Dropped => {
                let run = pin!(message.process(async |_| std::future::pending::<()>().await));
                let _ = run.now_or_never();
            }
        }
        self.count_processed(end);
        number
    }

    /// Runs a consumer that processes partitions concurrently.
    pub(crate) async fn run_concurrent(self, consumer: otel_kafka::StreamConsumer) {
        let mut stop = pin!(self.stop.notified());
        let handler = async |message: otel_kafka::BorrowedMessage<'_>| {
            let number = self.arrive(&message);
            let fails = self.end(number) == End::Failed;
            self.commit(number, || consumer.commit_message(&message, CommitMode::Async));
            self.count_processed(if fails { End::Failed } else { End::Success });
            if fails { Err(HandlerError) } else { Ok(()) }
        };
        // Errors are expected while the broker is being restarted.
        while consumer.for_each_concurrent(LIMIT, stop.as_mut(), &handler).await.is_err() {}
    }
}
