//! The instrumentation of one client: its destinations, and the counter that is specific to NATS.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Messaging attributes".

use std::sync::Arc;

use opentelemetry::InstrumentationScope;
use otel_messaging::attributes::SCHEMA_URL;
use otel_messaging::{ClientCounter, Destination, MessagingInstrumentation};

use crate::attributes::{INBOX, SYSTEM, SubjectKind};
use crate::config::Options;
use crate::metrics;

/// The instrumentation of a client. Cloning is cheap.
#[derive(Clone, Debug)]
pub(crate) struct ClientInstrumentation(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    facts: ClientFacts,
    messaging: MessagingInstrumentation,
    /// Messages that were sent without their context.
    context_dropped: ClientCounter,
}

/// The facts of a client's configuration.
#[derive(Clone, Debug)]
pub(crate) struct ClientFacts {
    /// The address to which the user connects, if it is a single one. The server's own may be that of another network.
    pub(crate) server: Option<(String, u16)>,
    pub(crate) inbox_prefix: String,
}

impl ClientInstrumentation {
    pub(crate) fn new(facts: ClientFacts, options: Options) -> Self {
        let scope = InstrumentationScope::builder(env!("CARGO_PKG_NAME"))
            .with_version(env!("CARGO_PKG_VERSION"))
            .with_schema_url(SCHEMA_URL)
            .build();
        let messaging = MessagingInstrumentation::builder(SYSTEM, scope)
            .with_server(facts.server.as_ref().map(|(address, port)| (&**address, *port)))
            .build(options);
        let context_dropped = metrics::context_dropped(&messaging);
        Self(Arc::new(Inner { facts, messaging, context_dropped }))
    }

    /// Returns the instrumentation of the same client with other options.
    pub(crate) fn with_options(&self, options: Options) -> Self {
        Self::new(self.0.facts.clone(), options)
    }

    pub(crate) fn messaging(&self) -> &MessagingInstrumentation {
        &self.0.messaging
    }

    /// Returns the destination for a subject or a pattern. `group` is the queue group of its subscription, or empty.
    #[inline]
    pub(crate) fn destination(&self, subject: &str, group: &str) -> (Destination, SubjectKind) {
        let kind = SubjectKind::new(subject, &self.0.facts.inbox_prefix);
        let name = if kind == SubjectKind::Inbox { INBOX } else { subject };
        let describe = || match group {
            "" => kind.describe(name),
            _ => kind.describe(name).with_consumer_group(group),
        };
        (self.0.messaging.destination(&[name, group, ""], describe), kind)
    }

    /// Returns the destination for the messages of a consumer. The stream is their template, because it may have subjects
    /// without a limit. `consumer` is empty if its name was generated.
    #[cfg(feature = "jetstream")]
    pub(crate) fn stream(&self, stream: &str, consumer: &str) -> Destination {
        let describe = || {
            let description = otel_messaging::DestinationDescription::new().with_template(stream);
            if consumer.is_empty() { description } else { description.with_subscription(consumer) }
        };
        self.0.messaging.destination(&[stream, consumer, "stream"], describe)
    }

    /// Returns the destination for a bucket of a key-value or object store. Its template is the prefix of its subjects, because
    /// the keys may be without a limit.
    #[cfg(any(feature = "kv", feature = "object-store"))]
    pub(crate) fn bucket(&self, prefix: &str) -> Destination {
        let describe = || otel_messaging::DestinationDescription::new().with_template(prefix);
        self.0.messaging.destination(&[prefix, "", "bucket"], describe)
    }

    pub(crate) fn count_context_dropped(&self) {
        self.0.context_dropped.add(1);
    }
}
