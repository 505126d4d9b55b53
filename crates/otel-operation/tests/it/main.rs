//! Integration tests of otel-operation's public API.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod ends;
mod metrics;
mod spans;
mod support;
