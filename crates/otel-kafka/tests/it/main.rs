//! The behaviour of otel-kafka through its public API, on librdkafka's embedded mock cluster.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod cancellation;
mod concurrency;
mod conformance;
mod consumer;
mod context;
mod conventions;
mod for_each;
mod hostile;
mod limits;
mod messages;
mod metrics;
mod no_sdk;
mod panics;
mod producer;
mod propagation;
mod rebalances;
mod refused;
mod settle;
mod spans;
mod support;
mod tracing_spans;
mod transactions;
mod unreported;
