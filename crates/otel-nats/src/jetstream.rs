//! JetStream: publishing with an acknowledgement, the messages of consumers, key-value and object stores.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Producer spans" and "Consumer
//! spans".

mod consumer;
mod for_each;
#[cfg(feature = "kv")]
pub mod kv;
mod message;
mod messages;
#[cfg(feature = "object-store")]
pub mod object_store;
mod producer;
mod stream;

pub use crate::jetstream::consumer::{
    BatchBuilder, Consumer, FetchBuilder, OrderedPullConsumer, OrderedPushConsumer, PullConsumer,
    PushConsumer, StreamBuilder,
};
pub use crate::jetstream::message::JetStreamMessage;
pub use crate::jetstream::messages::Messages;
pub use crate::jetstream::producer::{Context, PublishAckFuture, new};
pub use crate::jetstream::stream::Stream;
