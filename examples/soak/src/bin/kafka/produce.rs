//! Sends all messages with the given concurrency.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rdkafka::error::KafkaError;
use rdkafka::producer::{FutureRecord, Producer as _};
use rdkafka::util::Timeout;
use soak::{Class, Tally, add};
use tokio::task::JoinSet;

use crate::TOPIC;
use crate::ledger::Ledger;
use crate::plan::Plan;

type Record<'a> = FutureRecord<'a, [u8], [u8]>;

/// A producer of otel-kafka or rdkafka.
pub(crate) trait Producer: Clone + Send + Sync + 'static {
    fn send(&self, record: Record<'_>) -> impl Future<Output = Result<(), KafkaError>> + Send;

    /// Sends without awaiting the delivery.
    fn send_unawaited(&self, record: Record<'_>) -> Result<(), KafkaError>;

    fn in_flight(&self) -> i32;
}

macro_rules! impl_producer {
    ($producer:ty) => {
        impl Producer for $producer {
            async fn send(&self, record: Record<'_>) -> Result<(), KafkaError> {
                Self::send(self, record, Timeout::Never).await.map(drop).map_err(|(error, _)| error)
            }

            fn send_unawaited(&self, record: Record<'_>) -> Result<(), KafkaError> {
                self.send_result(record).map(drop).map_err(|(error, _)| error)
            }

            fn in_flight(&self) -> i32 {
                self.in_flight_count()
            }
        }
    };
}

impl_producer!(rdkafka::producer::FutureProducer);
impl_producer!(otel_kafka::FutureProducer);

/// Sends all messages and counts their outcomes.
pub(crate) async fn all<P: Producer>(
    producer: &P,
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
    // A panic of a worker is not reported here, because the checks find the missing messages.
    while workers.join_next().await.is_some() {}
}

async fn one<P: Producer>(producer: &P, plan: &Plan, ledger: &Ledger, observed: &Tally) {
    let record = FutureRecord {
        topic: TOPIC,
        partition: None,
        payload: plan.payload.as_deref(),
        key: Some(&*plan.key),
        timestamp: None,
        headers: plan.headers.clone(),
    };
    let result =
        if plan.is_unawaited { producer.send_unawaited(record) } else { producer.send(record).await };
    let mut class = Class::default();
    class.operation = Some("send".to_owned());
    match result {
        Ok(()) => add(&ledger.accepted),
        Err(error) => {
            class.error =
                Some(error.rdkafka_error_code().map_or("_OTHER".to_owned(), |code| format!("{code:?}")));
            add(&ledger.rejected)
        }
    };
    observed.add(class);
}
