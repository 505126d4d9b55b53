//! The core: what a saga's journal means, and what is to be done next. Pure functions, without a clock, without
//! input or output, without async.
//!
//! Follows `docs/sagas.md`, "Pure core", "Intent before action" and "Order of steps and the pivot": uncertain steps are
//! undone too, and after the pivot only forward steps follow.

mod next;
mod record;
mod state;

pub use next::{Command, next};
pub use record::{DecodeError, End, Phase, Record, Started, StepKind, StepShape};
pub use state::{FoldError, Side, State, StepState, Verdict, fold};
