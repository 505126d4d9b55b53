//! The names of all telemetry of two-phase commits. No semantic convention exists for them, so that these names are
//! specific to this crate.
//!
//! Follows `docs/conventions.md`: ids of transactions are on spans only, never on metrics.

/// The transaction's name, on spans and metrics.
pub const NAME: &str = "twopc.name";
/// The transaction's id, which is its name, a slash and its key, on spans.
pub const ID: &str = "twopc.id";
/// The participant's name, on spans and metrics.
pub const PARTICIPANT: &str = "twopc.participant";
/// `prepare`, `commit` or `rollback`, on metrics.
pub const PHASE: &str = "twopc.phase";
/// `yes`, `read_only` or `no`, on the spans of prepares and of commits in one phase; `unknown` on those of failed
/// prepares.
pub const VOTE: &str = "twopc.vote";
/// `commit` or `abort`, on the transaction's span.
pub const DECISION: &str = "twopc.decision";
/// The heuristic outcome of a participant, `committed`, `rolled_back`, `mixed` or `hazard`, on spans of commits and
/// rollbacks and on [`HEURISTICS`]. On the transaction's span `interrupted`.
pub const OUTCOME: &str = "twopc.outcome";
/// True on the span of a transaction that recovery recorded again.
pub const RECOVERED: &str = "twopc.recovered";

/// The duration of calls of participants, in seconds.
pub const PHASE_DURATION: &str = "twopc.phase.duration";
/// The number of transactions that have not ended, read from the journal.
pub const IN_DOUBT: &str = "twopc.in_doubt";
/// The age of the oldest transaction that has not ended, in seconds, read from the journal.
pub const IN_DOUBT_AGE: &str = "twopc.in_doubt.age";
/// The number of heuristic outcomes.
pub const HEURISTICS: &str = "twopc.heuristics";

/// The name of the span of a transaction, in front of the transaction's name.
pub const SPAN_TRANSACTION: &str = "2pc";
/// The name of the span of a prepare, in front of the participant's name.
pub const SPAN_PREPARE: &str = "prepare";
/// The name of the span of a commit, in front of the participant's name.
pub const SPAN_COMMIT: &str = "commit";
/// The name of the span of a rollback, in front of the participant's name.
pub const SPAN_ROLLBACK: &str = "rollback";
