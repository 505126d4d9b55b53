//! The shared part of OpenTelemetry instrumentation for database and cache clients.
//!
#![doc = include_str!("../README.md")]

mod sql;

pub use crate::sql::{Dialect, QueryAnalysis, analyze_query};
