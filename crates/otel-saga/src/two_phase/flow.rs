//! The pure core: what a transaction's records amount to, and what is to be done next.
//!
//! Follows `docs/sagas.md`, "Pure core" and "Presumed abort": a coordinator that finds no decision decides to abort.

mod next;
mod record;
mod state;

pub use self::next::{Ballot, Command, next};
pub use self::record::{Decision, DecodeError, Record, Started};
pub use self::state::{FoldError, State, fold};
