//! One operation, one span, one duration, one in-flight count.
//!
#![doc = include_str!("../README.md")]
//!
//! This file owns the crate's public exports.

mod cache;
mod declarations;
mod future;
mod global_provider;
mod isolation;
mod metrics;
mod operation;
mod outcome;
mod parent_mode;
mod providers;
mod requested_ids;
mod span;
mod tracer;

pub use crate::cache::{BoundedCache, SmallOnceMap, intern};
#[cfg(feature = "bound-metrics")]
pub use crate::declarations::declare_bound_metrics;
pub use crate::declarations::{
    declare_final_propagator, declare_parent_based_sampler, has_parent_based_sampler, reset_declarations,
};
pub use crate::future::{FinishOnOutput, OperationFuture};
pub use crate::global_provider::set_tracer_provider;
pub use crate::isolation::catch_panic;
pub use crate::metrics::{
    AttributedCounter, AttributedHistogram, AttributedUpDownCounter, DURATION_BOUNDARIES, LazyInstruments,
};
pub use crate::operation::{Operation, OperationObserver, StartTime};
pub use crate::outcome::{ERROR_TYPE, Outcome};
pub use crate::parent_mode::ParentMode;
pub use crate::providers::Providers;
pub use crate::requested_ids::{take_requested_span_id, take_requested_trace_id, with_span_identity};
pub use crate::span::{OutboundSpan, SamplerAttributes, SpanStart, StartedSpan};
pub use crate::tracer::Tracer;
