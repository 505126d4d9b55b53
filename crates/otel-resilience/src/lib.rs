//! Resilience for tower services, recorded: retry, deadlines.
//!
#![doc = include_str!("../README.md")]
//!
//! This file owns the crate's public exports.

mod attributes;
mod clone_request;
mod deadline;
mod error;
mod instrumentation;
mod metrics;
mod outcome;
mod refusal;
mod retry;

pub use crate::clone_request::{CloneBody, CloneRequest, EmptyBody};
pub use crate::deadline::{
    DeadlineFuture, DeadlineHeader, DeadlineLayer, DeadlineServerFuture, DeadlineServerLayer,
    DeadlineServerService, DeadlineService,
};
pub use crate::error::{BoxError, ResilienceError};
pub use crate::instrumentation::{Options, ResilienceInstrumentation};
pub use crate::retry::{
    LogicalCall, Retry, RetryAttempts, RetryBudget, RetryFuture, RetryLayer, RetryService,
};
pub use otel_request::Deadline;
