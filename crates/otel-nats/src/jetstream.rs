//! JetStream: publishing with an acknowledgement, the messages of consumers, key-value and object stores.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Producer spans" and "Consumer
//! spans".

mod consumer;
#[cfg(feature = "kv")]
pub mod kv;
#[cfg(feature = "object-store")]
pub mod object_store;
mod producer;

pub use crate::jetstream::consumer::{JetStreamMessage, Messages};
pub use crate::jetstream::producer::{Context, PublishAckFuture, new};
