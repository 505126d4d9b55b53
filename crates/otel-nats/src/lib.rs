//! OpenTelemetry instrumentation for NATS clients built on async-nats.
//!
#![doc = include_str!("../README.md")]

mod attributes;
mod carrier;
mod client;
mod config;
mod consumer;
#[cfg(feature = "jetstream")]
pub mod jetstream;
mod metrics;
mod nats;
mod outcome;
mod producer;
#[cfg(feature = "service")]
pub mod service;

pub use otel_messaging::{
    Acknowledgement, ExistingContext, HandlerOutcome, Lanes, MessagingOperation, ParentMode,
    SamplerAttributes,
};
pub use otel_operation::Outcome;

pub use crate::carrier::{HeaderExtractor, HeaderInjector};
pub use crate::client::{Client, connect, connect_with_options};
pub use crate::config::Options;
pub use crate::consumer::{Message, Subscriber};
