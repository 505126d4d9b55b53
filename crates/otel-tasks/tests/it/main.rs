//! The behaviour of otel-tasks through its public API.

mod conventions;
mod support;
