//! The names of everything that two-phase commits record. There is no convention for them; these are ours.
//!
//! Follows `docs/conventions.md`: ids of transactions are on spans only, never on metrics.

/// The transaction's name, on spans and metrics.
pub const NAME: &str = "twopc.name";
/// The transaction: its name, a slash and its key, on spans.
pub const ID: &str = "twopc.id";
/// The participant's name, on spans and metrics.
pub const PARTICIPANT: &str = "twopc.participant";
/// `prepare`, `commit` or `rollback`, on metrics.
pub const PHASE: &str = "twopc.phase";
/// `yes`, `read_only`, `no` or `unknown`, on the spans of prepares and of commits in one phase.
pub const VOTE: &str = "twopc.vote";
/// `commit` or `abort`, on the transaction's span.
pub const DECISION: &str = "twopc.decision";
/// What a participant did against its word, or on its own: `committed`, `rolled_back`, `mixed` or `hazard`; on spans of
/// commits and rollbacks, and on [`HEURISTICS`]. On the transaction's span also `interrupted`.
pub const OUTCOME: &str = "twopc.outcome";
/// Whether the span is that of a transaction that a crash has interrupted.
pub const RECOVERED: &str = "twopc.recovered";

/// One call of a participant, in seconds.
pub const PHASE_DURATION: &str = "twopc.phase.duration";
/// Transactions that have not ended, read from the journal.
pub const IN_DOUBT: &str = "twopc.in_doubt";
/// The age of the oldest transaction that has not ended, in seconds, read from the journal.
pub const IN_DOUBT_AGE: &str = "twopc.in_doubt.age";
/// Participants that decided on their own.
pub const HEURISTICS: &str = "twopc.heuristics";

/// The span of a transaction; its name follows.
pub const SPAN_TRANSACTION: &str = "2pc";
/// The span of a prepare; the participant's name follows.
pub const SPAN_PREPARE: &str = "prepare";
/// The span of a commit; the participant's name follows.
pub const SPAN_COMMIT: &str = "commit";
/// The span of a rollback; the participant's name follows.
pub const SPAN_ROLLBACK: &str = "rollback";
