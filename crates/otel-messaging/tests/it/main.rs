//! The behaviour of otel-messaging through its public API.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod batches;
mod clients;
mod conformance;
mod conventions;
mod destinations;
mod ends;
mod hostile;
mod loops;
mod messages;
mod metrics;
mod relations;
mod spans;
mod support;
mod toy;
