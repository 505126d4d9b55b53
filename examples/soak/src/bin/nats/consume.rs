//! The consumers: one of the stream, and one that answers requests. The handling of each message is determined by its
//! number, and its outcome is counted.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;

use async_nats::PublishError;
use async_nats::jetstream::consumer::PullConsumer;
use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _};
use otel_nats::jetstream::JetStreamMessage;
use otel_operation::Outcome;
use soak::{Random, Tally};

use crate::ledger::Ledger;
use crate::send::count;

/// One message in this many is acknowledged with a confirmation of the server.
const CONFIRMED: u64 = 50;

/// The state that the consumers of a run share.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) observed: Tally,
    pub(crate) seed: u64,
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

/// Handles a message of either type, and evaluates to nothing. `$work` is a future without an output.
macro_rules! handle {
    ($member:ident, $message:ident, $number:ident, $work:expr) => {
        let end = $member.end($number);
        match end {
            End::Success => $message.process(async |_| $work.await).await,
            End::Manual => {
                let operation = $message.processing();
                operation.run_with($work, |()| Outcome::ok()).await;
            }
            End::Failed => {
                let run = $message.process(async |_| {
                    $work.await;
                    Err::<(), _>(HandlerError)
                });
                let _ = run.await;
            }
            End::Panic => {
                // `resume_unwind` does not call the panic hook, because there are thousands of panics.
                let run = $message.process(async |_| -> () {
                    $work.await;
                    std::panic::resume_unwind(Box::new("planned"))
                });
                let _ = AssertUnwindSafe(run).catch_unwind().await;
            }
            End::Dropped => {
                // Dropped after the work, at a point where the handler waits.
                let (done, waits) = futures_util::future::abortable(std::future::pending::<()>());
                let run = pin!($message.process(async |_| {
                    $work.await;
                    waits.abort();
                    std::future::pending::<()>().await
                }));
                futures_util::future::select(run, pin!(done)).await;
            }
        }
        $member.count_processed(end);
    };
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

    /// Returns true if all deliveries have been acknowledged or answered, and processed where that is recorded.
    pub(crate) fn is_idle(&self) -> bool {
        let counts = self.observed.counts();
        let sum = |operations: &[&str]| -> u64 {
            let is_one = |name: &Option<String>| operations.iter().any(|one| name.as_deref() == Some(one));
            counts.iter().filter(|(class, _)| is_one(&class.operation)).map(|(_, count)| count).sum()
        };
        let (received, processed) = (self.ledger.received(), sum(&["process"]));
        sum(&["ack", "publish"]) >= received && (processed == 0 || processed >= received)
    }

    fn arrive(&self, message: &async_nats::Message, position: u64) -> u64 {
        let number = self.ledger.arrive(message, position);
        (self.progress)();
        number
    }

    fn count_processed(&self, end: End) {
        let error = match end {
            End::Success | End::Manual => None,
            End::Failed => Some(std::any::type_name::<HandlerError>()),
            End::Panic => Some("panic"),
            End::Dropped => Some("cancelled"),
        };
        count(&self.observed, "process", error.map(str::to_owned));
    }

    fn count_reply(&self, sent: &Result<(), PublishError>) {
        count(&self.observed, "publish", sent.as_ref().err().map(|error| format!("{:?}", error.kind())));
    }

    fn count_settled(&self, settled: &Result<(), async_nats::Error>) {
        count(&self.observed, "ack", settled.as_ref().err().map(|_| "_OTHER".to_owned()));
    }

    /// Consumes the stream with async-nats.
    pub(crate) async fn consume_bare(self, consumer: PullConsumer) {
        loop {
            let Ok(mut messages) = consumer.messages().await else { continue };
            while let Some(message) = messages.next().await {
                // The server is being restarted.
                let Ok(message) = message else { continue };
                let position = message.info().map_or(1, |info| info.stream_sequence);
                let number = self.arrive(&message, position);
                let settled = match number % CONFIRMED {
                    0 => message.double_ack().await,
                    _ => message.ack().await,
                };
                self.count_settled(&settled);
            }
        }
    }

    /// Consumes the stream with otel-nats.
    pub(crate) async fn consume(self, context: otel_nats::jetstream::Context, consumer: PullConsumer) {
        loop {
            let Ok(messages) = consumer.messages().await else { continue };
            let mut messages = context.messages(messages);
            while let Some(message) = messages.next().await {
                let Ok(message) = message else { continue };
                self.handle(message).await;
            }
        }
    }

    async fn handle(&self, message: JetStreamMessage) {
        let position = message.info().map_or(1, |info| info.stream_sequence);
        let number = self.arrive(&message.message, position);
        handle!(self, message, number, async {});
        let settled = match number % CONFIRMED {
            0 => message.double_ack().await,
            _ => message.ack().await,
        };
        self.count_settled(&settled);
    }

    /// Answers requests with async-nats.
    pub(crate) async fn answer_bare(self, client: async_nats::Client, mut requests: async_nats::Subscriber) {
        while let Some(request) = requests.next().await {
            let number = self.arrive(&request, 0);
            let Some(reply) = request.reply else { continue };
            self.count_reply(&client.publish(reply, answer(number)).await);
        }
    }

    /// Answers requests with otel-nats.
    pub(crate) async fn answer(self, client: otel_nats::Client, mut requests: otel_nats::Subscriber) {
        while let Some(request) = requests.next().await {
            let number = self.arrive(&request, 0);
            let reply = async || {
                if let Some(reply) = request.reply.clone() {
                    self.count_reply(&client.publish(reply, answer(number)).await);
                }
            };
            handle!(self, request, number, reply());
        }
    }
}

fn answer(number: u64) -> Bytes {
    number.to_be_bytes().to_vec().into()
}
