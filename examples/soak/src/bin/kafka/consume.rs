//! The consumers. The handling of each message is determined by its number, and its outcome is counted.

use std::pin::pin;
use std::sync::Arc;

use futures_util::future::{Either, select};
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::message::BorrowedMessage;
use soak::{End, HandlerError, Tally, handle};
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

impl Member {
    fn arrive(&self, message: &BorrowedMessage<'_>) -> u64 {
        let number = self.ledger.arrive(message);
        (self.progress)();
        number
    }

    fn commit(&self, number: u64, commit: impl FnOnce() -> rdkafka::error::KafkaResult<()>) {
        if number.is_multiple_of(COMMIT_INTERVAL) {
            let code = commit().err().and_then(|error| error.rdkafka_error_code());
            self.observed.count("commit", code.map(|code| format!("{code:?}")));
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
        let end = End::new(self.seed, number);
        handle!(end, message, async {});
        end.count(&self.observed);
        number
    }

    /// Runs a consumer that processes partitions concurrently.
    pub(crate) async fn run_concurrent(self, consumer: otel_kafka::StreamConsumer) {
        let mut stop = pin!(self.stop.notified());
        let handler = async |message: otel_kafka::BorrowedMessage<'_>| {
            let number = self.arrive(&message);
            let fails = End::new(self.seed, number) == End::Failed;
            self.commit(number, || consumer.commit_message(&message, CommitMode::Async));
            let end = if fails { End::Failed } else { End::Success };
            end.count(&self.observed);
            if fails { Err(HandlerError::new()) } else { Ok(()) }
        };
        // Errors are expected while the broker is being restarted.
        while consumer.for_each_concurrent(LIMIT, stop.as_mut(), &handler).await.is_err() {}
    }
}
