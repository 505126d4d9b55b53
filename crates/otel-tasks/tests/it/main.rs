//! The behaviour of otel-tasks through its public API.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod conventions;
mod errors;
mod support;
