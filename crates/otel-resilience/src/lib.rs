//! Resilience for tower services, recorded: retry, deadlines, circuit breaker, bulkhead, rate limit, hedging.
//!
#![doc = include_str!("../README.md")]
//!
//! This file owns the crate's public exports.

mod attributes;
mod breaker;
mod bulkhead;
mod clone_request;
mod deadline;
mod error;
mod grpc;
mod grpc_status;
mod guarded;
mod hedge;
mod instrumentation;
mod metrics;
mod outcome;
mod policy;
mod rate_limit;
mod replay;
mod retry;
mod waiting;

pub use crate::breaker::{CircuitBreakerLayer, CircuitBreakerService, CircuitState};
pub use crate::bulkhead::{BulkheadLayer, BulkheadService};
pub use crate::clone_request::{CloneBody, CloneRequest, EmptyBody};
pub use crate::deadline::{
    DeadlineFuture, DeadlineHeader, DeadlineLayer, DeadlineServerFuture, DeadlineServerLayer,
    DeadlineServerService, DeadlineService,
};
pub use crate::error::{BoxError, ResilienceError};
pub use crate::grpc_status::{GrpcStatusFuture, GrpcStatusLayer, GrpcStatusService};
pub use crate::guarded::GuardedFuture;
pub use crate::hedge::{HedgeFuture, HedgeLayer, HedgeService};
pub use crate::instrumentation::{Options, ResilienceInstrumentation};
pub use crate::rate_limit::{RateLimitLayer, RateLimitService};
pub use crate::replay::{CloneReplay, ReplayBody, ReplayLayer, ReplayService};
pub use crate::retry::{
    AttemptService, LogicalCall, Retry, RetryAttempts, RetryBudget, RetryFuture, RetryLayer, RetryService,
};
pub use otel_request::Deadline;
