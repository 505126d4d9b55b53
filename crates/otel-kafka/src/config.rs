//! The options of producers and consumers.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/): an attribute that they make
//! opt-in, or a span relation that they leave open, is an option here.

/// The options of a producer or a consumer. Default: the global providers and propagator, which are looked up at
/// first use and can therefore be set later.
///
/// ```
/// use otel_kafka::{FutureProducer, Options};
/// use rdkafka::ClientConfig;
///
/// # fn main() -> Result<(), rdkafka::error::KafkaError> {
/// let producer: FutureProducer = ClientConfig::new().set("bootstrap.servers", "localhost:9092").create()?;
/// let producer = producer.with_options(Options::new().with_message_sizes(true));
/// # drop(producer); Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub(crate) messaging: otel_messaging::Options,
    pub(crate) poll_spans: bool,
    pub(crate) lag: bool,
}

impl Options {
    /// Returns the default options.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn edit(mut self, edit: impl FnOnce(otel_messaging::Options) -> otel_messaging::Options) -> Self {
        self.messaging = edit(self.messaging);
        self
    }

    otel_messaging::messaging_options!();

    /// Records a `poll` span for each received message and each receive error. Default: false, because the span
    /// mostly measures the wait for the next message.
    #[must_use]
    pub fn with_poll_spans(mut self, record: bool) -> Self {
        self.poll_spans = record;
        self
    }

    /// Records the age of the message on its `process` span: the seconds between the message's timestamp and the
    /// start of processing, by the local clock (`messaging.kafka.message.lag`, defined by this crate). Default:
    /// false.
    #[must_use]
    pub fn with_lag(mut self, record: bool) -> Self {
        self.lag = record;
        self
    }
}
