//! The shared part of OpenTelemetry instrumentation for message brokers.
//!
#![doc = include_str!("../README.md")]

pub mod attributes;
mod carried_context;
mod client;
mod counter;
mod description;
mod destination;
mod destination_key;
mod for_each;
mod future;
mod handler_outcome;
mod inbound;
mod instrumentation;
mod lanes;
mod metrics;
mod operation;
mod operation_builder;
mod operation_type;
mod options;
mod outbound;
mod policy;
mod prepared;
mod settler;

pub use otel_operation::{ParentMode, SamplerAttributes};

pub use crate::carried_context::CarriedContext;
pub use crate::counter::ClientCounter;
pub use crate::description::DestinationDescription;
pub use crate::destination::Destination;
pub use crate::for_each::for_each;
pub use crate::handler_outcome::HandlerOutcome;
pub use crate::inbound::{
    InboundMessage, carried_context, record_receive_error, record_received, start_processing,
    start_processing_batch, start_settling,
};
pub use crate::instrumentation::{InstrumentationBuilder, MessagingInstrumentation};
pub use crate::lanes::{Lanes, for_each_in_lanes};
pub use crate::operation::MessagingOperation;
pub use crate::operation_builder::{MAX_LINKS, OperationBuilder};
pub use crate::operation_type::OperationType;
pub use crate::options::Options;
pub use crate::outbound::{HeaderBudget, OutboundMessage};
pub use crate::policy::{Acknowledgement, ExistingContext};
pub use crate::settler::{LaneGate, NoSettlement, OpenGate, Settler};
