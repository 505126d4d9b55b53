//! JetStream: publishing with an acknowledgement, and the messages of consumers.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Producer spans" and "Consumer
//! spans".

mod message;
mod messages;
mod producer;

pub use crate::jetstream::message::JetStreamMessage;
pub use crate::jetstream::messages::Messages;
pub use crate::jetstream::producer::{Context, PublishAckFuture, new};
