//! The pure core: `fold` computes the state of a saga from its records, `next` the commands for that state. No clock,
//! no input or output, no async.
//!
//! Follows `docs/sagas.md`, "Pure core", "Intent before action" and "Order of steps and the pivot": uncertain steps
//! are undone too, and after the pivot only forward steps follow.

mod apply;
mod compact;
mod next;
mod record;
mod state;

pub use apply::{FoldError, Impossible};
pub use compact::{Compaction, compact};
pub use next::{Command, next};
pub use record::{DecodeError, Phase, Record, Resolution, SagaOutcome, Started, StepKind, StepSpec};
pub use state::{NoSuchStep, PhaseOutcome, PhaseState, State, StepState, fold};
