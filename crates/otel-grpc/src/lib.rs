//! OpenTelemetry traces, metrics and context for gRPC servers and clients on tonic.
//!
#![doc = include_str!("../README.md")]

mod attributes;
mod carrier;
mod client;
mod config;
mod content_type;
mod deadline;
mod descriptors;
mod error;
mod instrumentation;
mod layer;
mod message_spans;
mod messages;
mod method;
mod metrics;
mod outcome;
mod request_body;
mod scanner;
mod server;
mod service;
mod state;
mod web;

pub use otel_operation::SamplerAttributes;
pub use otel_request::{ErrorClass, ErrorView, LayerOptions, ResendCounter, SeparateRequest};

pub use crate::carrier::{MetadataExtractor, MetadataInjector};
pub use crate::client::{ClientBody, ClientFuture, ClientLayer, ClientService, GrpcClient};
pub use crate::config::CallHead;
pub use crate::descriptors::DescriptorError;
pub use crate::instrumentation::GrpcInstrumentation;
pub use crate::layer::GrpcLayer;
pub use crate::message_spans::{MessageFuture, MessageSpan, MessageSpans, MessageState, StreamSlot};
pub use crate::messages::MessageEvents;
pub use crate::server::{GrpcServer, ServerBody, ServerFuture, ServerLayer, ServerService};
pub use crate::service::GrpcService;
pub use crate::state::CallState;
