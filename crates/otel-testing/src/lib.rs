//! A recorder, rendered span trees and a conformance suite for tests of OpenTelemetry instrumentation.
//!
#![doc = include_str!("../README.md")]

mod adoption;
#[cfg(feature = "bench")]
pub mod bench;
#[cfg(feature = "conformance")]
pub mod conformance;
mod exporter;
mod globals;
mod meter;
mod metrics;
mod normalize;
mod provider;
mod recorder;
#[cfg(feature = "registry")]
pub mod registry;
pub mod service;
mod span_log;
pub mod spans;
#[cfg(feature = "toy-broker")]
pub mod toy_broker;
mod tree;

pub use adoption::assert_adopting_section;
pub use exporter::{ExporterBehavior, ScriptedExporter};
pub use globals::assert_follows_globals;
pub use meter::RecordingMeterProvider;
pub use metrics::{Metric, MetricKind, Point};
pub use provider::{RecordingSpan, RecordingTracer, RecordingTracerProvider};
pub use recorder::{Recorder, RecorderBuilder};
