//! The shared part of OpenTelemetry instrumentation for message brokers.
//!
#![doc = include_str!("../README.md")]

pub mod attributes;
mod config;
mod destination;
mod messaging;
mod metrics;
mod operation;
mod policy;
mod start;

pub use otel_operation::SamplerAttributes;

pub use crate::config::Options;
pub use crate::destination::{Destination, DestinationParts};
pub use crate::messaging::Messaging;
pub use crate::operation::{MessagingOperation, MessagingRecord, OperationType, inject};
pub use crate::policy::{ExistingContext, ParentMode};
pub use crate::start::{MAX_LINKS, Start};
