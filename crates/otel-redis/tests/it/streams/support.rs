//! Producers and consumers that record into one recorder, and streams of their own.

use std::collections::HashMap;

use otel_propagation::CompositePropagator;
use otel_redis::streams::{Consumer, MessagingOptions, Producer, StreamMessage};
use otel_testing::Recorder;
use redis::aio::MultiplexedConnection;
use redis::streams::{StreamRangeReply, StreamReadOptions};
use redis::{AsyncCommands as _, Value};

use crate::support::{bare, unique};

pub(crate) type Message = StreamMessage<MultiplexedConnection>;

pub(crate) fn options(recorder: &Recorder) -> MessagingOptions {
    #[cfg(feature = "bound-metrics")]
    otel_operation::declare_bound_metrics();
    MessagingOptions::new()
        .with_tracer_provider(recorder.tracer_provider())
        .with_meter_provider(recorder.meter_provider())
        .with_propagator(CompositePropagator::default())
}

/// A stream with a group, its producer and its consumer.
pub(crate) struct Fixture {
    pub(crate) key: String,
    pub(crate) producer: Producer<MultiplexedConnection>,
    pub(crate) consumer: Consumer<MultiplexedConnection>,
    pub(crate) bare: MultiplexedConnection,
}

impl Fixture {
    pub(crate) async fn new(recorder: &Recorder) -> Self {
        Self::with(options(recorder)).await
    }

    pub(crate) async fn with(options: MessagingOptions) -> Self {
        let (key, mut bare) = (unique("orders"), bare().await);
        let () = bare.xgroup_create_mkstream(&key, "shipping", "0").await.unwrap();
        let producer = Producer::new(bare.clone()).with_options(options.clone());
        let consumer = Consumer::new(bare.clone(), "shipping", "worker-1").with_options(options);
        Self { key, producer, consumer, bare }
    }

    /// Adds an entry without instrumentation.
    pub(crate) async fn write(&mut self, fields: &[(&str, &str)]) -> String {
        let id: Option<String> = self.bare.xadd(&self.key, "*", fields).await.unwrap();
        id.unwrap()
    }

    /// Reads new entries.
    pub(crate) async fn read(&mut self) -> Vec<Message> {
        self.consumer.xreadgroup(&[&self.key], &[">"], StreamReadOptions::default()).await.unwrap()
    }

    /// Returns all entries of the stream, without instrumentation.
    pub(crate) async fn entries(&mut self) -> Vec<HashMap<String, String>> {
        let range: StreamRangeReply = self.bare.xrange_all(&self.key).await.unwrap();
        range.ids.into_iter().map(|entry| texts(entry.map)).collect()
    }

    /// Returns the number of entries that are not acknowledged.
    pub(crate) async fn pending(&mut self) -> usize {
        let reply: redis::streams::StreamPendingReply =
            self.bare.xpending(&self.key, "shipping").await.unwrap();
        reply.count()
    }
}

pub(crate) fn texts(map: HashMap<String, Value>) -> HashMap<String, String> {
    map.into_iter().map(|(name, value)| (name, redis::from_redis_value::<String>(value).unwrap())).collect()
}
