//! The behaviour of otel-saga through its public API.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[cfg(feature = "tracing")]
mod alerts;
mod conventions;
mod definitions;
mod faulty;
#[cfg(feature = "redb")]
mod file;
mod golden;
mod journals;
#[cfg(feature = "tracing")]
mod lines;
mod models;
mod runtime;
mod shop;
mod support;
mod telemetry;
mod two_phase;
