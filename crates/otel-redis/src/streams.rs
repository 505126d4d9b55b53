//! Messages in Redis Streams: a producer, a consumer of a group, and the messages that it reads.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), which have no page on Redis. The
//! destination is the stream's key, and the context of a message travels in fields of its entry.

mod carrier;
mod consumer;
mod for_each;
mod instrumentation;
mod message;
mod producer;

pub use otel_messaging::{
    Acknowledgement, ExistingContext, HandlerOutcome, MessagingOperation, Options as MessagingOptions,
    ParentMode,
};

pub use crate::streams::carrier::{FieldExtractor, FieldInjector};
pub use crate::streams::consumer::Consumer;
pub use crate::streams::message::StreamMessage;
pub use crate::streams::producer::Producer;
