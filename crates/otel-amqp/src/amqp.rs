//! The instrumentation of one connection: its destinations, and the counter that is specific to RabbitMQ.
//!
//! Follows the [semantic conventions for
//! RabbitMQ](https://opentelemetry.io/docs/specs/semconv/messaging/rabbitmq/).

use std::sync::Arc;

use opentelemetry::InstrumentationScope;
use otel_messaging::attributes::SCHEMA_URL;
use otel_messaging::{ClientCounter, Destination, MessagingInstrumentation};

use crate::attributes::{Address, Queue, SYSTEM};
use crate::config::Options;
use crate::metrics;

/// The instrumentation of a connection. Cloning is cheap.
#[derive(Clone, Debug)]
pub(crate) struct ClientInstrumentation(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The address to which the user connects. lapin does not keep it.
    server: Option<(String, u16)>,
    messaging: MessagingInstrumentation,
    /// Messages that were sent without their context.
    context_dropped: ClientCounter,
}

impl ClientInstrumentation {
    pub(crate) fn new(server: Option<(String, u16)>, options: Options) -> Self {
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
        Self::new(self.0.server.clone(), options)
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
