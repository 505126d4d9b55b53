//! Durable sagas, and two-phase commit, whose traces survive a crash.
// The README's examples need these features.
#![cfg_attr(any(not(doctest), all(feature = "postgres", feature = "redb")), doc = include_str!("../README.md"))]

mod admin;
mod context;
mod definition;
mod error;
pub mod flow;
pub mod journal;
mod lease;
mod retry;
mod runtime;
mod shutdown;
mod telemetry;
pub mod two_phase;

pub use crate::admin::{Instance, SagaAdmin, TimelineEntry, format_utc};
pub use crate::context::StepContext;
pub use crate::definition::{
    DefinitionError, ParallelGroup, Saga, SagaBuilder, StepBuilder, StepHandle, StepInputs,
};
pub use crate::error::{BoxError, InstanceError, StartError, StepError, ValueError};
pub use crate::retry::RetryPolicy;
pub use crate::runtime::{Runtime, RuntimeBuilder};
pub use crate::telemetry::names;
