//! The behaviour of otel-sqlx on SQLite in memory, through its public API.
#![cfg(feature = "sqlite")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod adopting;
mod cancellation;
mod conformance;
mod conventions;
mod executors;
mod outcomes;
mod pools;
mod secrets;
mod support;
mod tracing_spans;
mod transactions;
