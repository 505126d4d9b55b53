//! Durable sagas, and two-phase commit, whose traces survive a crash.
// The README's examples need these features.
#![cfg_attr(any(not(doctest), all(feature = "postgres", feature = "redb")), doc = include_str!("../README.md"))]

mod context;
mod definition;
mod error;
pub mod flow;
pub mod journal;
mod lease;
mod operator;
mod retry;
mod runtime;
mod telemetry;
pub mod two_phase;

pub use crate::context::StepContext;
pub use crate::definition::{Args, DefinitionError, Group, Handle, Saga, SagaBuilder, StepBuilder};
pub use crate::error::{BoxError, InstanceError, StartError, StepError, ValueError};
pub use crate::operator::{Instance, Moment, Operator, utc};
pub use crate::retry::RetryPolicy;
pub use crate::runtime::{Runtime, RuntimeBuilder};
pub use crate::telemetry::names;
