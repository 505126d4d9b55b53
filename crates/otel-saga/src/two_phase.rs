//! Two-phase commit: several participants commit a transaction together, or none of them does.
//!
//! Follows `docs/sagas.md`, "Presumed abort" and the sections after it: the decision is durable before the first
//! commit is sent, commits are repeated until acknowledged, branches in doubt are resolved at recovery, and heuristic
//! outcomes are reported.
//!
//! The structure is that of sagas: [`flow`] holds the pure core, and the [`Coordinator`] carries out its commands
//! over a [`Journal`](crate::journal::Journal) that holds only transactions. Participants implement [`Participant`].
//! The crate's README shows a transaction of two databases and the requirements on participants.

mod coordinator;
pub mod flow;
pub mod names;
mod participant;
#[cfg(feature = "postgres")]
mod postgres;
mod stored_transaction;
mod telemetry;

pub use self::coordinator::{
    BeginError, CommitError, Coordinator, CoordinatorBuilder, CoordinatorError, Heuristic, Outcome,
    Transaction,
};
pub use self::participant::{Acknowledgement, Branch, BranchError, Participant, Vote};
#[cfg(feature = "postgres")]
pub use self::postgres::{ParticipantPool, PostgresBranch, PostgresParticipant, PostgresParticipantError};
pub use self::stored_transaction::StoredTransaction;

/// The prefix of a transaction's name in [`InstanceSummary::saga`](crate::journal::InstanceSummary::saga), which
/// distinguishes journals of transactions from journals of sagas.
pub(crate) const KIND: &str = "2pc ";

/// Returns true if this name in a journal is a transaction's.
pub(crate) fn is_transaction(saga: &str) -> bool {
    saga.starts_with(KIND)
}
