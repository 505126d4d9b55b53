//! The instrumentation of a producer or a consumer, and the destinations of its messages.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Messaging attributes".

use opentelemetry::InstrumentationScope;
use otel_messaging::attributes::SCHEMA_URL;
use otel_messaging::{Destination, DestinationDescription, MessagingInstrumentation, Options};

use crate::attributes::SYSTEM;

/// The group and the name of a consumer.
#[derive(Clone, Debug)]
pub(crate) struct ConsumerFacts {
    pub(crate) group: String,
    pub(crate) name: String,
}

/// Builds the instrumentation of a producer, or of a consumer with these facts.
pub(crate) fn build(consumer: Option<&ConsumerFacts>, options: Options) -> MessagingInstrumentation {
    let scope = InstrumentationScope::builder(env!("CARGO_PKG_NAME"))
        .with_version(env!("CARGO_PKG_VERSION"))
        .with_schema_url(SCHEMA_URL)
        .build();
    MessagingInstrumentation::builder(SYSTEM, scope)
        .with_client_id(consumer.map(|facts| &*facts.name))
        .with_consumer_group(consumer.map(|facts| &*facts.group))
        .build(options)
}

/// Returns the destination for the stream with this key.
pub(crate) fn destination(client: &MessagingInstrumentation, key: &str) -> Destination {
    client.destination(&[key], || DestinationDescription::new().with_name(key))
}
