//! OpenTelemetry instrumentation for Redis.
//!
#![doc = include_str!("../README.md")]

mod attributes;
mod client;
#[cfg(feature = "cluster")]
mod cluster;
mod command;
mod config;
mod connection;
mod instrumentation;
mod outcome;
#[cfg(feature = "streams")]
pub mod streams;

pub use otel_database::{QueryText, SamplerAttributes};

pub use crate::client::Client;
#[cfg(feature = "cluster")]
pub use crate::cluster::ClusterClient;
pub use crate::config::Options;
pub use crate::connection::Connection;
