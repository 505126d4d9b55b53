//! Sets OpenTelemetry up in an application with one call, and shuts it down with one call.
//!
#![doc = include_str!("../README.md")]

mod assemble;
mod baggage;
mod batch;
mod builder;
mod config;
mod env;
mod error;
mod health;
mod ids;
mod logs;
mod metrics;
mod otlp;
mod resource;
mod runtime;
pub mod sampler;
mod shutdown;
mod signal;
mod status;
mod steps;
mod telemetry;
#[cfg(feature = "tls")]
mod tls;

pub use crate::batch::{BatchOptions, Counts, Drops};
pub use crate::builder::TelemetryBuilder;
pub use crate::config::{Exporter, OtlpOptions, Protocol, Signal};
pub use crate::env::EnvProblem;
pub use crate::error::SetupError;
#[cfg(feature = "tonic")]
pub use crate::health::GrpcHealth;
pub use crate::health::{Health, HealthDetail, HealthReport, HealthStatus};
pub use crate::resource::Detector;
pub use crate::shutdown::ShutdownReport;
pub use crate::signal::ShutdownSignal;
pub use crate::steps::{ShutdownPhase, ShutdownSteps, StepReport, StepsReport};
pub use crate::telemetry::Telemetry;
