//! What can be chosen for a producer or a consumer.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/) wherever an attribute is
//! opt-in or a relation may be chosen.

/// The options of a producer or a consumer. Without any, the global providers and propagator are used, which may be
/// set later.
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
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn edit(mut self, edit: impl FnOnce(otel_messaging::Options) -> otel_messaging::Options) -> Self {
        self.messaging = edit(self.messaging);
        self
    }

    otel_messaging::messaging_options!();

    /// Records a `poll` span for each message, and for each error, that is received. Most of its length is waiting for
    /// something to come, so that it is not recorded unless it is asked for.
    #[must_use]
    pub fn with_poll_spans(mut self, record: bool) -> Self {
        self.poll_spans = record;
        self
    }

    /// Records on a `process` span how old its message was when processing began, in seconds by this machine's clock
    /// (`messaging.kafka.message.lag`, an attribute of ours).
    #[must_use]
    pub fn with_lag(mut self, record: bool) -> Self {
        self.lag = record;
        self
    }
}
