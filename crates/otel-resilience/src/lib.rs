//! Resilience for tower services, recorded: retry and its budget.
//!
#![doc = include_str!("../README.md")]
//!
//! This file owns the crate's public exports.

mod attributes;
mod clone_request;
mod error;
mod instrumentation;
mod metrics;
mod outcome;
mod retry;

pub use crate::clone_request::{CloneBody, CloneRequest, EmptyBody};
pub use crate::error::{BoxError, ResilienceError};
pub use crate::instrumentation::{Options, ResilienceInstrumentation};
pub use crate::retry::{
    LogicalCall, Retry, RetryAttempts, RetryBudget, RetryFuture, RetryLayer, RetryService,
};
