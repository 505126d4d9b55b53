//! The pure core: `fold` computes the state of a transaction from its records, `next` the commands for that state.
//!
//! Follows `docs/sagas.md`, "Pure core" and "Presumed abort": a coordinator that finds no decision decides to abort.

mod next;
mod record;
mod state;

pub use self::next::{Command, next};
pub use self::record::{Decision, DecodeError, Record, Started};
pub use self::state::{FoldError, State, fold};
