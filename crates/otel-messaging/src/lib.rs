//! The shared part of OpenTelemetry instrumentation for message brokers.
//!
#![doc = include_str!("../README.md")]

pub mod attributes;
mod config;
mod destination;
mod messaging;
mod metrics;
mod operation;
mod operation_builder;
mod policy;

pub use otel_operation::SamplerAttributes;

pub use crate::config::Options;
pub use crate::destination::{Destination, DestinationDescription};
pub use crate::messaging::MessagingInstrumentation;
pub use crate::operation::{MessagingOperation, OperationState, OperationType, inject};
pub use crate::operation_builder::{MAX_LINKS, OperationBuilder};
pub use crate::policy::{ExistingContext, ParentMode};
