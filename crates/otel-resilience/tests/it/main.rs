//! The behaviour of otel-resilience through its public API.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod conventions;
mod deadline;
mod deadline_servers;
mod retry;
mod retry_limits;
mod support;
