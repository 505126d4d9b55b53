//! Sends all messages with the given concurrency. A message is sent again until the broker has confirmed it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lapin::options::BasicPublishOptions;
use lapin::{Confirmation, Error, ErrorKind};
use soak::{Tally, add};
use tokio::task::JoinSet;

use crate::QUEUE;
use crate::ledger::Ledger;
use crate::link::{Link, Opener};
use crate::plan::Plan;

/// The most messages that are sent ahead of the consumers, so that the restart comes in the midst of sending, and before the
/// confirmations that are not awaited. It is at most a quarter of all messages.
const MAX_LEAD: u64 = 5_000;

/// A routing key without a queue.
const NOWHERE: &str = "nowhere";

/// The channel of otel-amqp or lapin.
pub(crate) trait Channel: Clone + Send + Sync + 'static {
    /// Publishes one attempt, and waits for the confirmation if it is awaited.
    fn publish(
        &self,
        plan: &Plan,
        attempt: u64,
        is_awaited: bool,
    ) -> impl Future<Output = lapin::Result<Option<Confirmation>>> + Send;

    /// Returns the channel of lapin.
    fn inner(&self) -> &lapin::Channel;
}

macro_rules! impl_channel {
    ($channel:ty) => {
        impl Channel for $channel {
            async fn publish(
                &self,
                plan: &Plan,
                attempt: u64,
                is_awaited: bool,
            ) -> lapin::Result<Option<Confirmation>> {
                let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
                let key = if plan.is_unroutable { NOWHERE } else { QUEUE };
                let properties = plan.properties(attempt);
                let sent = self.basic_publish("".into(), key.into(), options, &plan.payload, properties);
                let confirm = sent.await?;
                if is_awaited { confirm.await.map(Some) } else { Ok(None) }
            }

            fn inner(&self) -> &lapin::Channel {
                self
            }
        }
    };
}

impl_channel!(lapin::Channel);
impl_channel!(otel_amqp::Channel);

/// Sends all messages and counts their outcomes.
pub(crate) async fn all<O: Opener>(
    links: &[Arc<Link<O>>],
    (seed, messages, concurrency): (u64, u64, u64),
    ledger: &Arc<Ledger>,
    observed: &Tally,
) {
    let (next, lead) = (Arc::new(AtomicU64::new(0)), MAX_LEAD.min(messages / 4));
    let mut workers = JoinSet::new();
    for link in links.iter().cycle().take(usize::try_from(concurrency).unwrap_or(usize::MAX)) {
        let (link, ledger) = (Arc::clone(link), Arc::clone(ledger));
        let (next, observed) = (Arc::clone(&next), observed.clone());
        workers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::SeqCst);
                if number >= messages {
                    return;
                }
                while number > ledger.received() + lead {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                let plan = Plan::new(seed, number);
                // The outcome of a confirmation that is not awaited is only known while the broker is up.
                let is_awaited = number % 20 != 0 || number < messages / 5 * 4 || plan.is_unroutable;
                one(&link, &plan, is_awaited, &ledger, &observed).await;
            }
        });
    }
    // A panic of a worker is not reported here, because the checks find the missing messages.
    while workers.join_next().await.is_some() {}
}

async fn one<O: Opener>(link: &Link<O>, plan: &Plan, is_awaited: bool, ledger: &Ledger, observed: &Tally) {
    for attempt in 0.. {
        if plan.is_full {
            add(&ledger.full_sent);
        }
        let (number, channel) = link.get().await;
        let result = channel.publish(plan, attempt, is_awaited).await;
        observed.count("publish", outcome(&result));
        match result {
            Ok(Some(Confirmation::Nack(_))) => add(&ledger.failed),
            Ok(_) => {
                add(if plan.is_unroutable { &ledger.returned } else { &ledger.accepted });
                return;
            }
            Err(_) => {
                // The broker is being restarted.
                link.replace(number).await;
                add(&ledger.failed)
            }
        };
    }
}

/// Returns the `error.type` that the result should have.
fn outcome(result: &lapin::Result<Option<Confirmation>>) -> Option<String> {
    match result {
        Ok(Some(Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_)))) => Some("NO_ROUTE".to_owned()),
        Ok(Some(Confirmation::Nack(None))) => Some("nack".to_owned()),
        Ok(_) => None,
        Err(error) => Some(error_type(error)),
    }
}

/// Returns the `error.type` of an error.
pub(crate) fn error_type(error: &Error) -> String {
    if let ErrorKind::ProtocolError(error) = error.kind() {
        // The broker announces no other error in this run.
        return if error.get_id() == 320 { "CONNECTION_FORCED" } else { "_OTHER" }.to_owned();
    }
    let text = format!("{:?}", error.kind());
    text.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default().to_owned()
}
