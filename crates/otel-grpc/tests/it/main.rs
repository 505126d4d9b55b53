//! Integration tests of otel-grpc's public API, with tonic's server and client.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[cfg(feature = "axum")]
mod axum_routes;
mod cancellation;
mod conformance;
mod conventions;
mod echo;
mod failures;
mod faults;
mod grpc_web;
mod hostile;
mod layers;
mod learned_methods;
mod message_spans;
mod methods;
mod metrics;
mod network;
mod options;
mod propagation;
mod reflection;
#[cfg(feature = "transport")]
mod resets;
mod spans;
#[cfg(feature = "axum")]
mod stacked;
mod stacked_clients;
mod statuses;
mod streams;
mod support;
mod tracing_spans;
