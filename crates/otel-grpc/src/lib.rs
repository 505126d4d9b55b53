//! OpenTelemetry traces, metrics and context for gRPC servers and clients on tonic.
//!
#![doc = include_str!("../README.md")]

mod attributes;
mod carrier;
mod client;
mod config;
mod content_type;
mod deadline;
mod message_spans;
mod messages;
mod method;
mod metrics;
mod outcome;
mod record;
mod server;

pub use otel_operation::SamplerAttributes;
pub use otel_request::ResendCounter;

pub use crate::carrier::{MetadataExtractor, MetadataInjector};
pub use crate::client::{ClientBody, ClientFuture, ClientLayer, ClientService};
pub use crate::config::CallHead;
pub use crate::message_spans::{MessageFuture, MessageRecord, MessageSpan, MessageSpans, StreamSlot};
pub use crate::messages::MessageEvents;
pub use crate::record::CallRecord;
pub use crate::server::{ServerBody, ServerFuture, ServerLayer, ServerService};
