//! OpenTelemetry instrumentation for RabbitMQ clients built on lapin.
//!
#![doc = include_str!("../README.md")]

mod amqp;
mod attributes;
mod carrier;
mod channel;
mod config;
mod connection;
mod consumer;
mod metrics;
mod outcome;
mod producer;

pub use otel_messaging::{
    Acknowledgement, ExistingContext, HandlerOutcome, Lanes, MessagingOperation, ParentMode,
    SamplerAttributes,
};
pub use otel_operation::Outcome;

pub use crate::amqp::ClientInstrumentation;
pub use crate::carrier::{HeaderExtractor, HeaderInjector};
pub use crate::channel::Channel;
pub use crate::config::Options;
pub use crate::connection::Connection;
pub use crate::consumer::{Acker, BasicGetMessage, Consumer, ConsumerDelegate, Delivery, DeliveryResult};
pub use crate::producer::PublisherConfirm;
