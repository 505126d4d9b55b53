//! Service discovery and load balancing for tower, recorded: which endpoint took a call, and why.
//!
#![doc = include_str!("../README.md")]
//!
//! This file owns the crate's public exports.

mod attributes;
mod balance;
mod changes;
mod ejection;
mod endpoint;
mod endpoint_set;
mod endpoints;
mod error;
mod http_endpoint;
mod instrumentation;
mod metrics;
mod registry;
mod strategy;
mod watcher;

pub use crate::balance::{Balance, BalanceFuture, BalanceOptions};
pub use crate::changes::DiscoverStream;
pub use crate::ejection::{Ejection, ErrorsOnly, IsFailure, Unavailable};
pub use crate::endpoint::{Endpoint, Health, InvalidEndpoint};
pub use crate::endpoints::{Endpoints, WatchOptions};
pub use crate::error::{BoxError, NoEndpoints, RegistryError};
pub use crate::http_endpoint::HttpEndpoint;
pub use crate::instrumentation::{DiscoveryInstrumentation, Options};
#[cfg(feature = "consul")]
pub use crate::registry::consul::ConsulRegistry;
#[cfg(feature = "dns")]
pub use crate::registry::dns::DnsRegistry;
#[cfg(feature = "etcd")]
pub use crate::registry::etcd::EtcdRegistry;
#[cfg(feature = "file")]
pub use crate::registry::file::FileRegistry;
pub use crate::registry::lease::{Lease, LeaseKeeper};
pub use crate::registry::memory::StaticRegistry;
pub use crate::registry::{Registration, Registry, RegistryAnswer, Update, Updates};
pub use crate::strategy::Strategy;
