//! The pure core: what a transaction's records amount to, and what is to be done next.
//!
//! Follows DESIGN.md, "Sagas": presumed abort. Whoever finds no decision decides to abort.

mod next;
mod record;
mod state;

pub use self::next::{Ballot, Command, next};
pub use self::record::{Decision, DecodeError, Record, Started};
pub use self::state::{FoldError, State, fold};
