//! The names of everything that sagas record. There is no convention for them; these are ours.
//!
//! Follows `docs/conventions.md`: ids of instances are on spans only, never on metrics.

/// The saga's name, on spans and metrics.
pub const SAGA_NAME: &str = "saga.name";
/// The definition's version, on spans.
pub const SAGA_VERSION: &str = "saga.version";
/// The instance, on spans.
pub const SAGA_ID: &str = "saga.id";
/// The step's name, on spans and metrics.
pub const STEP_NAME: &str = "saga.step.name";
/// `compensatable`, `pivot` or `forward`, on spans.
pub const STEP_KIND: &str = "saga.step.kind";
/// The attempt's number from 1, on spans.
pub const STEP_ATTEMPT: &str = "saga.step.attempt";
/// `action` or `compensation`, on spans and metrics.
pub const PHASE: &str = "saga.phase";
/// How it ended, `completed` or `compensated`; on a span `interrupted`, or `not_made` where the intent did not get into
/// the journal. By the journal's word on gauges.
pub const OUTCOME: &str = "saga.outcome";
/// Whether the span tells again what was under way when a process died, on spans.
pub const RECOVERED: &str = "saga.recovered";
/// `running`, `parked`, `completed` or `compensated`, on gauges.
pub const STATE: &str = "saga.state";

/// From start to end, in seconds.
pub const DURATION: &str = "saga.duration";
/// One attempt, in seconds.
pub const STEP_DURATION: &str = "saga.step.duration";
/// One append to the journal, in seconds.
pub const APPEND_DURATION: &str = "saga.journal.append.duration";
/// Attempts after the first one.
pub const STEP_RETRIES: &str = "saga.step.retries";
/// Instances by state, read from the journal.
pub const INSTANCES: &str = "saga.instances";
/// The age of the oldest instance that has not ended, in seconds, read from the journal.
pub const OLDEST_AGE: &str = "saga.oldest.age";
/// Instances that went on after their worker had died.
pub const RECOVERIES: &str = "saga.recoveries";
/// Appends that came second.
pub const CONFLICTS: &str = "saga.journal.conflicts";

/// The span of a saga's start; the saga's name follows.
pub const SPAN_START: &str = "saga start";
/// The span of an attempt; the step's name follows.
pub const SPAN_STEP: &str = "saga step";
/// The span of an attempt at undoing; the step's name follows.
pub const SPAN_COMPENSATE: &str = "saga compensate";
