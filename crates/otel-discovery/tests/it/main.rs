//! The behaviour of otel-discovery through its public API.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod balance;
mod choices;
mod conformance;
#[cfg(feature = "consul")]
mod consul;
// Only with a registry that is asked all names are recorded.
#[cfg(feature = "dns")]
mod conventions;
#[cfg(feature = "dns")]
mod dns;
#[cfg(feature = "etcd")]
mod etcd;
mod faults;
#[cfg(feature = "file")]
mod file;
mod leases;

mod returning;
mod sockets;
mod support;
