//! The behaviour of otel-tasks through its public API.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod broadcast;
mod channels;
mod conformance;
mod context;
mod conventions;
mod ends;
mod errors;
mod faults;
mod locks;
mod permits;
mod pools;
mod spans;
mod streams;
mod support;
mod suppressed;
#[cfg(feature = "macros")]
mod traced;
#[cfg(feature = "macros")]
mod traced_signatures;
#[cfg(feature = "macros")]
mod traced_traits;
