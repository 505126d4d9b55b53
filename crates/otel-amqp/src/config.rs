//! The options of a connection, which are those of all brokers.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/): an attribute that they make
//! opt-in, or a span relation that they leave open, is an option.

pub use otel_messaging::Options;
