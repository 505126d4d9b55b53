//! OpenTelemetry instrumentation for Kafka clients built on rdkafka.
//!
#![doc = include_str!("../README.md")]

mod attributes;
mod carrier;
mod config;
mod consumer;
mod context;
mod kafka;
mod metrics;
mod outcome;
mod producer;
mod statistics;

pub use otel_messaging::{
    Acknowledgement, ExistingContext, HandlerOutcome, Lanes, MessagingOperation, ParentMode,
    SamplerAttributes,
};
pub use otel_operation::Outcome;

pub use crate::carrier::{HeaderExtractor, HeaderInjector};
pub use crate::config::Options;
pub use crate::consumer::{
    BaseConsumer, BorrowedMessage, ConsumerContext, Iter, MessageStream, OwnedMessage, PartitionQueue,
    StreamConsumer, StreamPartitionQueue, TracedConsumerContext,
};
pub use crate::producer::{
    BaseProducer, DeliveryFuture, FutureProducer, FutureProducerContext, ThreadedProducer,
    TracedProducerContext,
};
