//! Two-phase commit: several participants commit a transaction together, or none of them does.
//!
//! Follows `docs/sagas.md`, "Presumed abort" and the sections after it: the decision is durable before the first commit
//! is sent, commits are repeated until acknowledged, branches in doubt are resolved at recovery, and heuristic outcomes
//! are reported.
//!
//! Built as sagas are: [`flow`] holds the pure core, the [`Coordinator`] carries out what it commands, over a
//! [`Journal`](crate::journal::Journal) that is for transactions alone. Who takes part implements [`Participant`]. The
//! crate's README shows a transaction of two databases, and says what is asked of participants.

mod coordinator;
pub mod flow;
mod history;
pub mod names;
mod participant;
#[cfg(feature = "postgres")]
mod postgres;
mod telemetry;

pub use self::coordinator::{
    BeginError, CommitError, Coordinator, CoordinatorBuilder, CoordinatorError, Heuristic, Outcome,
    Transaction,
};
pub use self::history::History;
pub use self::participant::{Answer, Branch, BranchError, Participant, Vote};
#[cfg(feature = "postgres")]
pub use self::postgres::{PostgresBranch, PostgresParticipant, PostgresParticipantError};

/// What the journal calls a transaction, before its name: so that a journal of sagas is told from one of transactions.
pub(crate) const KIND: &str = "2pc ";

/// Whether what is called so in a journal is a transaction, and no saga.
pub(crate) fn is_transaction(saga: &str) -> bool {
    saga.starts_with(KIND)
}
