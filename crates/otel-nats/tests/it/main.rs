//! The behaviour of otel-nats through its public API, with a real server.
//!
//! `cargo xtask services up nats` starts the server. Without it these tests fail with a message that names this command.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[cfg(feature = "jetstream")]
mod adopting;
mod cancellation;
mod conformance;
#[cfg(feature = "jetstream")]
mod conformance_jetstream;
#[cfg(feature = "jetstream")]
mod consumers;
// The document lists the names of all features, and each has to be recorded.
#[cfg(feature = "object-store")]
mod conventions;
#[cfg(feature = "jetstream")]
mod for_each;
#[cfg(feature = "jetstream")]
mod jetstream;
#[cfg(feature = "kv")]
mod kv;
mod metrics;
#[cfg(feature = "object-store")]
mod object_store;
mod processing;
mod propagation;
mod refused;
mod server;
#[cfg(feature = "service")]
mod service;
mod spans;
mod support;
mod tracing_spans;
