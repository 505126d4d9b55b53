//! Integration tests of otel-http's public API, over real sockets.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod attributes;
mod cancellation;
mod conformance;
mod conventions;
mod ends;
mod failures;
mod filters;
mod hostile;
mod metrics;
mod panics;
mod propagation;
mod sizes;
mod spans;
mod stacked;
mod stacked_clients;
mod streams;
mod support;
mod tower_layers;
mod tracing_spans;

#[cfg(feature = "axum")]
mod axum_routes;
#[cfg(feature = "reqwest")]
mod reqwest_client;
