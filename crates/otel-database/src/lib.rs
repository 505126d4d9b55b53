//! The shared part of OpenTelemetry instrumentation for database and cache clients.
//!
#![doc = include_str!("../README.md")]

pub mod attributes;
mod client;
mod command;
mod comment;
mod future;
mod instrumentation;
mod metrics;
mod operation;
mod options;
mod outcome;
mod pool;
mod prepared;
mod sql;
mod statement;

pub use otel_operation::SamplerAttributes;

pub use crate::command::CommandDescription;
pub use crate::future::OperationFuture;
pub use crate::instrumentation::{DatabaseInstrumentation, InstrumentationBuilder};
pub use crate::operation::DatabaseOperation;
pub use crate::options::{Options, QueryText};
pub use crate::outcome::DatabaseOutcome;
pub use crate::pool::{ConnectionUse, ConnectionWait, ObservedPool, PoolMetrics, PoolSnapshot};
pub use crate::sql::{Dialect, QueryAnalysis, analyze_query};
pub use crate::statement::{OperationBuilder, Statement};
