//! Two-phase commit: several participants commit a transaction together, or none of them does.
//!
//! Follows DESIGN.md, "Sagas": presumed abort. The decision is durable before the first commit leaves, commits are
//! retried until acknowledged, whatever is in doubt is resolved at recovery, and nothing is ignored.
//!

mod coordinator;
pub mod flow;
pub mod names;
mod participant;
#[cfg(feature = "postgres")]
mod postgres;
mod telemetry;

pub use self::coordinator::{
    BeginError, CommitError, Coordinator, CoordinatorBuilder, CoordinatorError, Heuristic, Outcome,
    Transaction,
};
pub use self::participant::{Answer, Branch, BranchError, Participant, Vote};
#[cfg(feature = "postgres")]
pub use self::postgres::{PostgresBranch, PostgresError, PostgresParticipant};
