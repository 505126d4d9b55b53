//! Behaviour through the public API, with exporters in the process and without external services.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod baggage;
mod batch;
mod blocking;
mod collector;
mod collector_faults;
mod conventions;
mod environment;
mod exporters;
mod health;
mod ids;
mod invalid_values;
mod logs;
mod metrics;
mod process_environment;
mod requests;
mod retry;
mod shutdown;
mod steps;
mod support;
#[cfg(feature = "tls")]
mod tls;
