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
mod errors;
mod metrics;
mod processing;
mod propagation;
mod settlement;
mod spans;
mod support;
mod tracing_spans;
