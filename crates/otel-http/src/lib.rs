//! OpenTelemetry traces, metrics and context for HTTP servers and clients.
//!
#![doc = include_str!("../README.md")]

mod attributes;
mod carrier;
mod client;
mod config;
mod exchange;
mod forwarded;
mod method;
mod metrics;
mod outcome;
#[cfg(feature = "reqwest")]
mod reqwest;
mod server;

pub use otel_operation::SamplerAttributes;
pub use otel_request::{PeerAddr, ResendCounter};

pub use crate::carrier::{HeaderExtractor, HeaderInjector};
pub use crate::client::{ClientBody, ClientFuture, ClientLayer, ClientRecord, ClientService, UrlTemplate};
pub use crate::config::{EndOn, RequestHead, ResponseHead};
pub use crate::server::{RouteSlot, ServerBody, ServerFuture, ServerLayer, ServerRecord, ServerService};
