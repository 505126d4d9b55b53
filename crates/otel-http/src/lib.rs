//! OpenTelemetry traces, metrics and context for HTTP servers and clients.
//!
#![doc = include_str!("../README.md")]

mod attributes;
mod carrier;
mod client;
mod config;
mod exchange;
mod forwarded;
mod instrumentation;
mod layer;
mod method;
mod metrics;
mod outcome;
#[cfg(feature = "reqwest")]
mod reqwest;
mod server;
mod service;
mod sizes;

pub use ipnet::IpNet;
pub use otel_operation::SamplerAttributes;
pub use otel_request::{
    ErrorClass, ErrorView, LayerOptions, PeerAddr, RequestHead, ResendCounter, ResponseHead, SeparateRequest,
};

pub use crate::carrier::{HeaderExtractor, HeaderInjector};
pub use crate::client::{
    ClientBody, ClientFuture, ClientLayer, ClientService, ClientState, HttpClient, UrlTemplate,
};
pub use crate::config::EndOn;
pub use crate::forwarded::ForwardingHeaders;
pub use crate::instrumentation::HttpInstrumentation;
pub use crate::layer::HttpLayer;
pub use crate::server::{
    HttpServer, LateRoute, ServerBody, ServerFuture, ServerLayer, ServerService, ServerState,
};
pub use crate::service::HttpService;
