//! The instrumentation of one connection: its destinations, and the counter that is specific to RabbitMQ.
//!
//! Follows the [semantic conventions for
//! RabbitMQ](https://opentelemetry.io/docs/specs/semconv/messaging/rabbitmq/).

use std::sync::Arc;

use opentelemetry::InstrumentationScope;
use otel_messaging::attributes::SCHEMA_URL;
use otel_messaging::{ClientCounter, Destination, MessagingInstrumentation};

use crate::attributes::{Address, Queue, SYSTEM};
use crate::channel::Channel;
use crate::config::Options;
use crate::metrics;

/// The instrumentation of channels whose connection is lapin's, as one of a pool. Cloning is cheap; create it once.
///
/// ```
/// use otel_amqp::{Channel, ClientInstrumentation, Options};
///
/// async fn open(pooled: &lapin::Connection, telemetry: &ClientInstrumentation) -> lapin::Result<Channel> {
///     let channel = pooled.create_channel().await?;
///     Ok(telemetry.channel(pooled, channel))
/// }
///
/// let telemetry = ClientInstrumentation::new(Options::new().with_server("rabbit.example", 5672));
/// # let _ = (open, telemetry);
/// ```
#[derive(Clone, Debug)]
pub struct ClientInstrumentation(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The address to which the user connects. lapin does not keep it.
    server: Option<(String, u16)>,
    messaging: MessagingInstrumentation,
    /// Messages that were sent without their context.
    context_dropped: ClientCounter,
}

impl ClientInstrumentation {
    /// Creates the instrumentation. The address of the broker is unknown; set it with [`Options::with_server`].
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self::connected_to(None, options)
    }

    /// Instruments a channel of lapin that was opened on this connection.
    ///
    /// A returned message of a confirmation that was dropped is given out by
    /// [`wait_for_confirms`](Channel::wait_for_confirms) of the [`Channel`] that published it and of its clones, and not of
    /// another instance for the same channel of lapin.
    #[must_use]
    pub fn channel(&self, connection: &lapin::Connection, channel: lapin::Channel) -> Channel {
        Channel::new(channel, self.clone(), connection)
    }

    pub(crate) fn connected_to(server: Option<(String, u16)>, options: Options) -> Self {
        let scope = InstrumentationScope::builder(env!("CARGO_PKG_NAME"))
            .with_version(env!("CARGO_PKG_VERSION"))
            .with_schema_url(SCHEMA_URL)
            .build();
        let messaging = MessagingInstrumentation::builder(SYSTEM, scope)
            .with_server(server.as_ref().map(|(address, port)| (&**address, *port)))
            .build(options);
        let context_dropped = metrics::context_dropped(&messaging);
        Self(Arc::new(Inner { server, messaging, context_dropped }))
    }

    /// Returns the instrumentation of the same connection with other options.
    pub(crate) fn with_options(&self, options: Options) -> Self {
        Self::connected_to(self.0.server.clone(), options)
    }

    pub(crate) fn messaging(&self) -> &MessagingInstrumentation {
        &self.0.messaging
    }

    /// Returns the destination to which a message is published.
    #[inline]
    pub(crate) fn published(&self, address: Address<'_>) -> Destination {
        let (exchange, key) = (address.exchange, address.stable_key());
        self.0.messaging.destination(&[exchange, key, "send"], || address.describe())
    }

    /// Returns the destination from which messages are received.
    pub(crate) fn consumed(&self, queue: Queue<'_>) -> Destination {
        self.0.messaging.destination(&[queue.stable_name(), "", "receive"], || queue.describe())
    }

    pub(crate) fn count_context_dropped(&self) {
        self.0.context_dropped.add(1);
    }
}
