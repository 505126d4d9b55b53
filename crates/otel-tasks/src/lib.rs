//! The trace inside a process: context and spans across tasks, channels, pools and streams.
//!
#![doc = include_str!("../README.md")]

#[cfg(feature = "macros")]
#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;
mod attribute_value;
mod attributes;
mod cancellation;
mod channel;
mod context;
mod envelope;
mod error;
mod future;
mod in_span;
mod instrumentation;
mod join_set;
mod metrics;
mod operation;
mod options;
mod outcome;
mod span;
mod spawn;
mod stream;
pub mod sync;
mod task_tracker;
mod worker_pool;

pub use otel_operation::{Outcome, ParentMode, SamplerAttributes};
#[cfg(feature = "macros")]
pub use otel_tasks_macros::{Attributes, traced};

pub use crate::attribute_value::{AttributeValue, ToAttributes};
pub use crate::cancellation::{CancelReason, Cancellation};
pub use crate::channel::Channel;
pub use crate::context::in_context;
pub use crate::envelope::WithContext;
pub use crate::error::{RecordError, TracedError};
pub use crate::future::TaskFuture;
pub use crate::in_span::{in_span, in_span_sync, in_span_with, timeout};
pub use crate::instrumentation::TaskInstrumentation;
pub use crate::join_set::JoinSet;
pub use crate::options::Options;
pub use crate::outcome::TaskOutput;
pub use crate::span::TaskSpan;
pub use crate::spawn::{spawn, spawn_blocking, spawn_blocking_with_span, spawn_with_span};
pub use crate::stream::{MapTraced, join_all, try_join_all};
pub use crate::task_tracker::TaskTracker;
pub use crate::worker_pool::WorkerPool;
