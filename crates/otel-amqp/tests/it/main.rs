//! The behaviour of otel-amqp through its public API, with a real broker.
//!
//! `cargo xtask services up rabbitmq` starts the broker. Without it these tests fail with a message that names this command.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod adopting;
mod broker;
mod cancellation;
mod confirmation;
mod conformance;
mod conventions;
mod hostile;
mod limits;
mod metrics;
mod processing;
mod propagation;
mod refused;
mod settle;
mod spans;
mod support;
mod tracing_spans;
mod transactions;
