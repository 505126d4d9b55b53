//! The producer that returns a future for each delivery: `FutureProducer`.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Producer spans": the
//! delivery report ends a `send` span, even if the future has been dropped.

use std::error::Error;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::{Duration, Instant};

use futures_channel::oneshot;
use futures_util::future::{Either, select};
use rdkafka::client::{DefaultClientContext, OAuthToken};
use rdkafka::config::{FromClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, OwnedMessage, Timestamp, ToBytes};
use rdkafka::producer::future_producer::{Delivery, OwnedDeliveryResult};
use rdkafka::producer::{FutureRecord, NoCustomPartitioner, Producer, ProducerContext, ThreadedProducer};
use rdkafka::util::{AsyncRuntime, DefaultRuntime, Timeout};
use rdkafka::{ClientConfig, ClientContext, Message as _, Statistics};
use tokio::sync::Notify;

use crate::config::Options;
use crate::context::client_context;
use crate::kafka::ClientInstrumentation;
use crate::producer::in_flight::{InFlightRecord, RecordParts, TracedRecord};
use crate::producer::live::{InstrumentedProducer, limit_methods, producer_methods};
use crate::producer::sending;
use crate::producer::settings::ProducerSettings;
use crate::producer::shared::{RawProducer, Shared};

/// The first and the longest interval between checks for room in the queue while no delivery report arrives; each
/// interval is twice the previous one. Reports alone are not sufficient, because a report arrives shortly before its
/// record leaves the queue.
const WAIT: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(100));

type Reply = oneshot::Sender<OwnedDeliveryResult>;

/// The context of a [`FutureProducer`], which ends `send` spans. It dereferences to the user's context.
pub struct FutureProducerContext<C: ClientContext + 'static> {
    inner: C,
    shared: Shared<Reply>,
    /// Notified by each delivery report, to wake a sender that waits for room in the queue.
    room: Notify,
}

impl<C: ClientContext + 'static> Deref for FutureProducerContext<C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.inner
    }
}

impl<C: ClientContext + 'static> fmt::Debug for FutureProducerContext<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FutureProducerContext").finish_non_exhaustive()
    }
}

impl<C: ClientContext + 'static> ClientContext for FutureProducerContext<C> {
    client_context!(|context: &Self, statistics: &[u8]| context.shared.observe_statistics(statistics));
}

impl<C: ClientContext + 'static> ProducerContext for FutureProducerContext<C> {
    type DeliveryOpaque = Arc<InFlightRecord<Reply>>;

    fn delivery(&self, result: &DeliveryResult<'_>, in_flight: Self::DeliveryOpaque) {
        if let Some((reply, own)) = self.shared.delivered(result, in_flight) {
            let result = match result {
                Ok(message) => Ok(Delivery {
                    partition: message.partition(),
                    offset: message.offset(),
                    timestamp: message.timestamp(),
                }),
                Err((error, message)) => {
                    let mut message = message.detach();
                    if let Some(own) = own {
                        let headers = own.restore(message.detach_headers());
                        message = message.replace_headers(headers);
                    }
                    Err((error.clone(), message))
                }
            };
            // Sending fails if the caller has dropped the future.
            let _ = reply.send(result);
        }
        self.room.notify_one();
    }
}

type Inner<C> = ThreadedProducer<FutureProducerContext<C>>;

impl<C: ClientContext + 'static> RawProducer<Reply> for Inner<C> {
    fn produce<'a>(
        &self,
        record: TracedRecord<'a, Reply>,
    ) -> Result<(), (KafkaError, TracedRecord<'a, Reply>)> {
        self.send(record)
    }

    fn shared(&self) -> &Shared<Reply> {
        &self.client().context().shared
    }
}

/// rdkafka's `FutureProducer`. Other methods are available through rdkafka's trait `Producer`. Clones share the
/// producer.
///
/// If the queue is full, `send` waits for the next delivery report instead of rdkafka's fixed 100 ms.
#[must_use = "Producer polling thread will stop immediately if unused"]
pub struct FutureProducer<C = DefaultClientContext, R = DefaultRuntime>
where
    C: ClientContext + 'static,
{
    live: Arc<InstrumentedProducer<Inner<C>, Reply>>,
    kafka: ClientInstrumentation,
    runtime: PhantomData<R>,
}

/// The future returned by [`FutureProducer::send_result`], which resolves to the delivery result. Dropping it does
/// not affect the delivery.
#[derive(Debug)]
pub struct DeliveryFuture {
    reply: oneshot::Receiver<OwnedDeliveryResult>,
}

impl Future for DeliveryFuture {
    type Output = Result<OwnedDeliveryResult, oneshot::Canceled>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.reply).poll(cx)
    }
}

impl<C, R> FutureProducer<C, R>
where
    C: ClientContext + 'static,
    R: AsyncRuntime,
{
    /// Replaces the options.
    pub fn with_options(mut self, options: Options) -> Self {
        self.kafka = self.kafka.with_options(options);
        self.live.install_resender(&self.kafka);
        self
    }

    limit_methods!();

    /// Sends a record and waits for its delivery. `queue_timeout` limits the wait for room in the queue.
    ///
    /// If the future is dropped, a record that is in the queue is still sent, and the delivery report ends its span.
    /// A record that waits for room is not sent, and its span ends as `cancelled`.
    ///
    /// # Errors
    /// Returns rdkafka's error, and the message with its original headers.
    pub async fn send<K, P, T>(&self, record: FutureRecord<'_, K, P>, queue_timeout: T) -> OwnedDeliveryResult
    where
        K: ToBytes + ?Sized,
        P: ToBytes + ?Sized,
        T: Into<Timeout>,
    {
        let (parts, headers) = parts(record);
        let (reply, answer) = oneshot::channel();
        let timeout = queue_timeout.into();
        let mut record = self.live.begin(&self.kafka, parts, headers, reply);
        let mut waiting: Option<(Instant, Duration)> = None;
        let refused = loop {
            let error = match self.live.enqueue(&self.kafka, record) {
                Ok(()) => {
                    // The producer cannot be dropped while it is borrowed here, and it reports on each enqueued
                    // record.
                    match answer.await {
                        Ok(result) => return result,
                        Err(oneshot::Canceled) => break (KafkaError::Canceled, None),
                    }
                }
                Err((error, back)) => {
                    record = back;
                    error
                }
            };
            let full = error == KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
            let (since, delay) = *waiting.get_or_insert_with(|| (Instant::now(), WAIT.0));
            let left = match timeout {
                Timeout::Never => Duration::MAX,
                Timeout::After(limit) => limit.saturating_sub(since.elapsed()),
            };
            if !full || left.is_zero() {
                break (error, Some(record));
            }
            let report = pin!(self.live.client().context().room.notified());
            let timer = pin!(R::delay_for(delay.min(left)));
            if let Either::Right(_) = select(report, timer).await {
                waiting = Some((since, (delay * 2).min(WAIT.1)));
            }
        };
        let (error, record) = refused;
        let headers = record.and_then(|record| sending::finish_rejected(&error, record).0);
        let timestamp = parts.timestamp.map_or(Timestamp::NotAvailable, Timestamp::CreateTime);
        let message = OwnedMessage::new(
            parts.payload.map(<[u8]>::to_vec),
            parts.key.map(<[u8]>::to_vec),
            parts.topic.to_owned(),
            timestamp,
            parts.partition.unwrap_or(-1),
            0,
            headers,
        );
        Err((error, message))
    }

    /// Enqueues a record, and returns a future of its delivery.
    ///
    /// # Errors
    /// Returns rdkafka's error and the unchanged record if the record could not be enqueued.
    #[expect(clippy::result_large_err, reason = "rdkafka gives the record back in this way")]
    pub fn send_result<'a, K, P>(
        &self,
        record: FutureRecord<'a, K, P>,
    ) -> Result<DeliveryFuture, (KafkaError, FutureRecord<'a, K, P>)>
    where
        K: ToBytes + ?Sized,
        P: ToBytes + ?Sized,
    {
        let FutureRecord { topic, partition, payload, key, timestamp, .. } = record;
        let (parts, headers) = parts(record);
        let (reply, answer) = oneshot::channel();
        let sent = self.live.begin(&self.kafka, parts, headers, reply);
        match self.live.enqueue(&self.kafka, sent) {
            Ok(()) => Ok(DeliveryFuture { reply: answer }),
            Err((error, sent)) => {
                let (headers, _) = sending::finish_rejected(&error, sent);
                Err((error, FutureRecord { topic, partition, payload, key, timestamp, headers }))
            }
        }
    }

    /// Serves delivery reports until `timeout` expires. The producer's own thread also serves them.
    pub fn poll<T: Into<Timeout>>(&self, timeout: T) {
        (**self.live).poll(timeout);
    }
}

fn parts<'a, K, P>(
    record: FutureRecord<'a, K, P>,
) -> (RecordParts<'a>, Option<rdkafka::message::OwnedHeaders>)
where
    K: ToBytes + ?Sized,
    P: ToBytes + ?Sized,
{
    let parts = RecordParts {
        topic: record.topic,
        partition: record.partition,
        payload: record.payload.map(ToBytes::to_bytes),
        key: record.key.map(ToBytes::to_bytes),
        timestamp: record.timestamp,
    };
    (parts, record.headers)
}

impl<R: AsyncRuntime> FromClientConfig for FutureProducer<DefaultClientContext, R> {
    fn from_config(config: &ClientConfig) -> KafkaResult<Self> {
        Self::from_config_and_context(config, DefaultClientContext)
    }
}

impl<C, R> FromClientConfigAndContext<C> for FutureProducer<C, R>
where
    C: ClientContext + 'static,
    R: AsyncRuntime,
{
    fn from_config_and_context(config: &ClientConfig, context: C) -> KafkaResult<Self> {
        let settings = ProducerSettings::from_config(config);
        let context =
            FutureProducerContext { inner: context, shared: Shared::new(settings), room: Notify::new() };
        let inner = ThreadedProducer::from_config_and_context(config, context)?;
        let kafka = ClientInstrumentation::from_config(config);
        Ok(Self { live: InstrumentedProducer::new(inner, &kafka), kafka, runtime: PhantomData })
    }
}

impl<C, R> Producer<FutureProducerContext<C>, NoCustomPartitioner> for FutureProducer<C, R>
where
    C: ClientContext + 'static,
    R: AsyncRuntime,
{
    producer_methods!(FutureProducerContext<C>, thread);
}

impl<C: ClientContext + 'static, R> Clone for FutureProducer<C, R> {
    fn clone(&self) -> Self {
        Self { live: Arc::clone(&self.live), kafka: self.kafka.clone(), runtime: PhantomData }
    }
}

impl<C: ClientContext + 'static, R> fmt::Debug for FutureProducer<C, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FutureProducer").field("kafka", &self.kafka).finish_non_exhaustive()
    }
}
