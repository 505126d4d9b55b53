//! The behaviour of otel-discovery through its public API.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod balance;
mod choices;
mod conventions;
mod faults;
#[cfg(feature = "file")]
mod file;
mod sockets;
mod support;
