//! The samplers through the public API: decisions, and the `tracestate` that they write or leave unchanged.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod environment;
mod parents;
mod ratio;
mod reload;
mod rules;
mod sdk;
mod support;
