//! The state that a producer shares with its delivery reports: they end `send` spans and send records again that the
//! injected headers made too large.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Producer spans": a `send`
//! span ends when the broker has acknowledged or rejected the record.

#![expect(clippy::result_large_err, reason = "rdkafka gives a record back in this way")]

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use otel_operation::{Outcome, catch_panic};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedHeaders, BorrowedMessage, DeliveryResult, Message as _, OwnedHeaders};

use crate::attributes;
use crate::carrier::OriginalHeaders;
use crate::kafka::ClientInstrumentation;
use crate::outcome;
use crate::producer::in_flight::{InFlightRecord, Opaques, RecordParts, StartedRecord, TracedRecord};
use crate::producer::limits::{TopicLimits, batch_size};
use crate::producer::sending;
use crate::producer::settings::ProducerSettings;

/// A producer of rdkafka, reduced to sending.
pub(crate) trait RawProducer<O: Send + Sync>: Send + Sync {
    /// Enqueues the record, or returns it with the error.
    fn produce<'a>(&self, record: TracedRecord<'a, O>) -> Result<(), (KafkaError, TracedRecord<'a, O>)>;

    /// Returns the state that is shared with the delivery reports.
    fn shared(&self) -> &Shared<O>;
}

/// The state that a producer shares with its delivery reports, stored in rdkafka's context.
pub(crate) struct Shared<O: Send + Sync> {
    pub(crate) settings: ProducerSettings,
    pub(crate) limits: TopicLimits,
    pub(crate) opaques: Opaques<O>,
    /// True while a transaction is being aborted.
    aborting: AtomicBool,
    /// Sends records again that the broker rejected as too large. It is removed before the producer is dropped, so that
    /// a delivery report never holds the last reference: dropping the producer waits for the thread that serves the
    /// reports.
    resend: RwLock<Option<Resend<O>>>,
    /// The first panic of the user's delivery callback since the last poll.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

/// The producer and the instrumentation for sending records again that the broker rejected as too large.
pub(crate) struct Resend<O: Send + Sync> {
    pub(crate) producer: Arc<dyn RawProducer<O>>,
    pub(crate) kafka: ClientInstrumentation,
}

impl<O: Send + Sync> Shared<O> {
    pub(crate) fn new(settings: ProducerSettings) -> Self {
        Self {
            settings,
            limits: TopicLimits::new(settings.max_batch),
            opaques: Opaques::new(settings.reports_success),
            aborting: AtomicBool::new(false),
            resend: RwLock::new(None),
            panic: Mutex::new(None),
        }
    }

    /// Sets or removes the producer that sends records again.
    pub(crate) fn resend_by(&self, resend: Option<Resend<O>>) {
        let before = {
            let mut place = self.resend.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *place, resend)
        };
        drop(before);
    }

    /// Takes the values of the gauges from librdkafka's statistics.
    pub(crate) fn observe_statistics(&self, statistics: &[u8]) {
        // Not under the lock, which a collection of the metrics would wait for.
        let kafka =
            self.resend.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(|one| one.kafka.clone());
        if let Some(kafka) = kafka {
            kafka.observe_statistics(statistics);
        }
    }

    /// Aborts a transaction. The spans of records that are purged meanwhile end with the error type `aborted`.
    pub(crate) fn abort(&self, abort: impl FnOnce() -> KafkaResult<()>) -> KafkaResult<()> {
        self.aborting.store(true, Ordering::Release);
        let result = abort();
        self.aborting.store(false, Ordering::Release);
        result
    }

    /// Runs the user's delivery callback. A panic in it would lose the other reports of the same event, and end the
    /// thread of a producer that polls itself.
    pub(crate) fn call(&self, callback: impl FnOnce()) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(callback)) {
            let mut first = self.panic.lock().unwrap_or_else(PoisonError::into_inner);
            if first.is_none() {
                *first = Some(panic);
            } else {
                let _ = catch_panic(|| drop(panic));
            }
        }
    }

    /// Continues a panic of the user's delivery callback in the thread that polled.
    pub(crate) fn resume_panic(&self) {
        let panic = self.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }

    /// Handles a delivery report. Returns the user's opaque, and the original headers if the record failed and was
    /// sent with injected ones. Returns `None` if the record was sent again without injected headers.
    pub(crate) fn delivered(
        &self,
        result: &DeliveryResult<'_>,
        mut in_flight: Arc<InFlightRecord<O>>,
    ) -> Option<(O, Option<OriginalHeaders>)> {
        let (error, message) = match result {
            Ok(message) => (None, message),
            Err((error, message)) => (Some(error), message),
        };
        if error.is_some_and(outcome::is_too_large) {
            in_flight = self.refused(message, in_flight)?;
        }
        let own = in_flight.sending().and_then(|sending| {
            let operation = &mut sending.operation;
            if let Some(span) = operation.recording() {
                let partition = (!sending.has_partition).then(|| message.partition());
                attributes::delivered(&span, partition, message.offset());
            }
            let Some(error) = error else {
                operation.end(&Outcome::ok());
                return None;
            };
            operation.end(&if outcome::is_purged(error) && self.aborting.load(Ordering::Acquire) {
                Outcome::error(outcome::ABORTED)
            } else {
                outcome::of_error(error)
            });
            sending.own.take()
        });
        Some((in_flight.take_opaque()?, own))
    }

    /// Remembers the refusal of a record, and if it was sent with injected headers, sends it again without them unless the
    /// producer keeps the order of records. Returns its state if it is not sent again.
    fn refused(
        &self,
        message: &BorrowedMessage<'_>,
        mut in_flight: Arc<InFlightRecord<O>>,
    ) -> Option<Arc<InFlightRecord<O>>> {
        let Some(sending) = in_flight.sending() else {
            let size = batch_size(&parts(message, None), message.headers());
            self.limits.set_refused(message.topic(), size.saturating_sub(1));
            return Some(in_flight);
        };
        let Some(own) = sending.own.take() else { return Some(in_flight) };
        let parts = parts(message, sending.timestamp);
        let headers = own.restore(message.headers().map(BorrowedHeaders::detach));
        let borrowed = headers.as_ref().map(OwnedHeaders::as_borrowed);
        self.limits.set_refused(parts.topic, batch_size(&parts, borrowed));
        let resend = self.resend.read().unwrap_or_else(PoisonError::into_inner);
        let mut record = StartedRecord { parts, headers, in_flight };
        if let Some(Resend { producer, kafka }) = &*resend
            && self.settings.may_reorder
        {
            if let Some(sending) = record.in_flight.sending() {
                sending.is_context_dropped = true;
            }
            (_, record) = sending::produce(kafka, &**producer, record).err()?;
        }
        let StartedRecord { headers, mut in_flight, .. } = record;
        if let Some(sending) = in_flight.sending() {
            sending.own = Some(headers.map_or(OriginalHeaders::None, OriginalHeaders::Kept));
        }
        Some(in_flight)
    }
}

fn parts<'m>(message: &'m BorrowedMessage<'_>, timestamp: Option<i64>) -> RecordParts<'m> {
    RecordParts {
        topic: message.topic(),
        partition: Some(message.partition()).filter(|partition| *partition >= 0),
        payload: message.payload(),
        key: message.key(),
        timestamp,
    }
}
