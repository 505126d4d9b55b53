//! The behaviour of otel-redis through its public API, with a real server.
//!
//! `cargo xtask services up redis` starts the server. Without it these tests fail with a message that names this command.

#![cfg(feature = "aio")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[cfg(feature = "connection-manager")]
mod adopting;
mod cancellation;
#[cfg(all(feature = "cluster-async", feature = "connection-manager"))]
mod cluster;
mod conformance;
#[cfg(feature = "streams")]
mod conventions;
mod metrics;
mod secrets;
#[cfg(feature = "connection-manager")]
mod server;
mod spans;
#[cfg(feature = "streams")]
mod streams;
mod support;
mod tracing_spans;
