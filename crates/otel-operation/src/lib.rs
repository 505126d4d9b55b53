//! One operation, one span, one duration, one in-flight count.
//!
#![doc = include_str!("../README.md")]
//!
//! This file owns the list of what the crate offers; each module says what it owns.

#[cfg(feature = "http-body")]
mod body;
mod cache;
mod future;
mod metrics;
mod operation;
mod outcome;
mod tracer;

#[cfg(feature = "http-body")]
pub use crate::body::{ObserveBody, OperationBody};
pub use crate::cache::{Interned, Slots, intern};
pub use crate::future::{Complete, OperationFuture};
pub use crate::metrics::{HistogramSeries, Instruments, UpDownSeries};
pub use crate::operation::{Operation, Record, Started};
pub use crate::outcome::{ERROR_TYPE, Outcome};
pub use crate::tracer::{SamplerInput, SpanStart, Tracer};
