//! The consumers: one of the stream, and one that answers requests. The handling of each message is determined by its
//! number, and its outcome is counted.

use std::sync::Arc;

use async_nats::PublishError;
use async_nats::jetstream::consumer::PullConsumer;
use bytes::Bytes;
use futures_util::StreamExt as _;
use otel_nats::jetstream::JetStreamMessage;
use soak::{End, Tally, handle};

use crate::ledger::Ledger;

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

impl Member {
    /// Returns true if all deliveries have been acknowledged or answered, and processed where that is recorded.
    pub(crate) fn is_idle(&self) -> bool {
        let (received, processed) = (self.ledger.received(), self.observed.total(&["process"]));
        self.observed.total(&["ack", "publish"]) >= received && (processed == 0 || processed >= received)
    }

    fn arrive(&self, message: &async_nats::Message, position: u64) -> u64 {
        let number = self.ledger.arrive(message, position);
        (self.progress)();
        number
    }

    fn count_reply(&self, sent: &Result<(), PublishError>) {
        self.observed.count("publish", sent.as_ref().err().map(|error| format!("{:?}", error.kind())));
    }

    fn count_settled(&self, settled: &Result<(), async_nats::Error>) {
        self.observed.count("ack", settled.as_ref().err().map(|_| "_OTHER".to_owned()));
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
        let end = End::new(self.seed, number);
        handle!(end, message, async {});
        end.count(&self.observed);
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
            let end = End::new(self.seed, number);
            handle!(end, request, reply());
            end.count(&self.observed);
        }
    }
}

fn answer(number: u64) -> Bytes {
    number.to_be_bytes().to_vec().into()
}
