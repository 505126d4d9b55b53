//! The core: what a saga's journal means, and what is to be done next. Pure functions, without a clock, without
//! input or output, without async.
//!
//! Follows DESIGN.md, "Sagas": intent before action, uncertain steps are undone too, forward only after the pivot.

mod next;
mod record;
mod state;

pub use next::{Command, next};
pub use record::{DecodeError, End, Phase, Record, Started, StepKind, StepShape};
pub use state::{FoldError, Side, State, StepState, Verdict, fold};
