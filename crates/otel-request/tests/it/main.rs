//! Integration tests of otel-request's public API, with two protocols of the tests' own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bodies;
mod protocols;
mod stacked;
