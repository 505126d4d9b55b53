//! Sending all messages, so many at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rdkafka::error::KafkaError;
use rdkafka::producer::{FutureRecord, Producer as _};
use rdkafka::util::Timeout;
use soak::{Class, Tally};
use tokio::task::JoinSet;

use crate::TOPIC;
use crate::ledger::{Ledger, add};
use crate::plan::Plan;

type Record<'a> = FutureRecord<'a, [u8], [u8]>;

/// A producer, ours or rdkafka's.
pub(crate) trait Sends: Clone + Send + Sync + 'static {
    fn send(&self, record: Record<'_>) -> impl Future<Output = Result<(), KafkaError>> + Send;

    /// Sends, and never looks after the broker's word.
    fn forget(&self, record: Record<'_>) -> Result<(), KafkaError>;

    fn in_flight(&self) -> i32;
}

macro_rules! sends {
    ($producer:ty) => {
        impl Sends for $producer {
            async fn send(&self, record: Record<'_>) -> Result<(), KafkaError> {
                Self::send(self, record, Timeout::Never).await.map(drop).map_err(|(error, _)| error)
            }

            fn forget(&self, record: Record<'_>) -> Result<(), KafkaError> {
                self.send_result(record).map(drop).map_err(|(error, _)| error)
            }

            fn in_flight(&self) -> i32 {
                self.in_flight_count()
            }
        }
    };
}

sends!(rdkafka::producer::FutureProducer);
sends!(otel_kafka::FutureProducer);

/// Sends all; what became of each is counted.
pub(crate) async fn all<S: Sends>(
    producer: &S,
    (seed, messages, concurrency): (u64, u64, u64),
    ledger: &Arc<Ledger>,
    observed: &Tally,
) {
    let next = Arc::new(AtomicU64::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..concurrency {
        let (producer, ledger) = (producer.clone(), Arc::clone(ledger));
        let (next, observed) = (Arc::clone(&next), observed.clone());
        workers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::SeqCst);
                if number >= messages {
                    return;
                }
                one(&producer, &Plan::new(seed, number), &ledger, &observed).await;
            }
        });
    }
    // What a worker leaves undone when it panics is missed by the checks.
    while workers.join_next().await.is_some() {}
}

async fn one<S: Sends>(producer: &S, plan: &Plan, ledger: &Ledger, observed: &Tally) {
    let record = FutureRecord {
        topic: TOPIC,
        partition: None,
        payload: plan.payload.as_deref(),
        key: Some(&*plan.key),
        timestamp: None,
        headers: plan.headers.clone(),
    };
    let sent = if plan.is_forgotten { producer.forget(record) } else { producer.send(record).await };
    let mut class = Class::default();
    class.operation = Some("send".to_owned());
    match sent {
        Ok(()) => add(&ledger.accepted),
        Err(error) => {
            class.error =
                Some(error.rdkafka_error_code().map_or("_OTHER".to_owned(), |code| format!("{code:?}")));
            add(&ledger.refused)
        }
    };
    observed.add(class);
}
