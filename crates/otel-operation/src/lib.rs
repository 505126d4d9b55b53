//! One operation, one span, one duration, one in-flight count.
//!
#![doc = include_str!("../README.md")]
//!
//! This file owns the crate's public exports.

mod address;
mod attempts;
#[cfg(feature = "http-body")]
mod body;
mod cache;
#[cfg(feature = "http-body")]
mod captured;
mod future;
#[cfg(feature = "http-body")]
mod grpc;
mod identity;
mod metrics;
mod operation;
mod outcome;
mod providers;
mod tracer;

pub use crate::address::ip_text;
pub use crate::attempts::Attempts;
#[cfg(feature = "http-body")]
pub use crate::body::{ObserveBody, OperationBody};
pub use crate::cache::{Interned, Slots, intern};
#[cfg(feature = "http-body")]
pub use crate::captured::CapturedHeaders;
pub use crate::future::{Complete, OperationFuture};
#[cfg(feature = "http-body")]
pub use crate::grpc::is_grpc;
pub use crate::identity::{wanted_span_id, wanted_trace_id, with_ids};
pub use crate::metrics::{DURATION_BOUNDARIES, HistogramSeries, Instruments, UpDownSeries};
pub use crate::operation::{Operation, Record, Started};
pub use crate::outcome::{ERROR_TYPE, Outcome};
pub use crate::providers::{Providers, set_tracer_provider};
pub use crate::tracer::{SamplerInput, SpanStart, Tracer};
