//! Sends all messages with the given concurrency. A stored message is sent again, under the same id, until the server has
//! acknowledged it; a request is not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::jetstream::message::PublishMessage;
use bytes::Bytes;
use soak::{Tally, add};
use tokio::task::JoinSet;

use crate::ledger::Ledger;
use crate::plan::Plan;
use crate::{REQUESTS, STORED};

/// The pause after a failure, before the next attempt or message.
const PAUSE: Duration = Duration::from_millis(100);

/// The name of async-nats' error, as `error.type` has it.
pub(crate) type ErrorKind = String;

/// The clients of otel-nats or async-nats.
pub(crate) trait Bus: Clone + Send + Sync + 'static {
    /// Publishes to the stream, and waits for the acknowledgement if it is awaited.
    fn store(&self, plan: &Plan, is_awaited: bool) -> impl Future<Output = Result<(), ErrorKind>> + Send;

    fn request(&self, plan: &Plan) -> impl Future<Output = Result<Bytes, ErrorKind>> + Send;
}

macro_rules! impl_bus {
    ($name:ident, $client:ty, $context:ty) => {
        #[derive(Clone)]
        pub(crate) struct $name(pub(crate) $client, pub(crate) $context);

        impl Bus for $name {
            async fn store(&self, plan: &Plan, is_awaited: bool) -> Result<(), ErrorKind> {
                let publish =
                    PublishMessage::build().headers(plan.headers.clone()).payload(plan.payload.clone());
                let sent = self.1.send_publish(STORED, publish).await;
                let ack = sent.map_err(|error| format!("{:?}", error.kind()))?;
                if is_awaited {
                    ack.await.map_err(|error| format!("{:?}", error.kind()))?;
                }
                Ok(())
            }

            async fn request(&self, plan: &Plan) -> Result<Bytes, ErrorKind> {
                let (headers, payload) = (plan.headers.clone(), plan.payload.clone());
                let reply = self.0.request_with_headers(REQUESTS, headers, payload).await;
                reply.map(|reply| reply.payload).map_err(|error| format!("{:?}", error.kind()))
            }
        }
    };
}

impl_bus!(Bare, async_nats::Client, async_nats::jetstream::Context);
impl_bus!(Ours, otel_nats::Client, otel_nats::jetstream::Context);

/// Sends all messages and counts their outcomes.
pub(crate) async fn all<B: Bus>(
    bus: &B,
    (seed, messages, concurrency): (u64, u64, u64),
    ledger: &Arc<Ledger>,
    observed: &Tally,
) {
    let next = Arc::new(AtomicU64::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..concurrency {
        let (bus, ledger) = (bus.clone(), Arc::clone(ledger));
        let (next, observed) = (Arc::clone(&next), observed.clone());
        workers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::SeqCst);
                if number >= messages {
                    return;
                }
                // The outcome of an acknowledgement that is not awaited is only known while the server is up.
                let is_awaited = number % 20 != 0 || number < messages / 5 * 4;
                one(&bus, &Plan::new(seed, number), is_awaited, &ledger, &observed).await;
            }
        });
    }
    // A panic of a worker is not reported here, because the checks find the missing messages.
    while workers.join_next().await.is_some() {}
}

async fn one<B: Bus>(bus: &B, plan: &Plan, is_awaited: bool, ledger: &Ledger, observed: &Tally) {
    loop {
        if plan.is_full {
            add(&ledger.full_sent);
        }
        let (operation, result) = match plan.is_stored {
            true => ("publish", bus.store(plan, is_awaited).await.map(|()| None)),
            false => ("request", bus.request(plan).await.map(Some)),
        };
        observed.count(operation, result.as_ref().err().cloned());
        match result {
            Ok(None) => add(&ledger.accepted),
            // The reply is the number of the request.
            Ok(Some(reply)) if plan.payload.starts_with(&reply) && reply.len() == 8 => add(&ledger.answered),
            Ok(Some(_)) => add(&ledger.changed),
            Err(_) if plan.is_too_large => add(&ledger.rejected),
            Err(_) => {
                // The server is being restarted.
                tokio::time::sleep(PAUSE).await;
                if plan.is_stored {
                    continue;
                }
                add(&ledger.failed)
            }
        };
        return;
    }
}
