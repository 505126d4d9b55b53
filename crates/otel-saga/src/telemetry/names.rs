//! The names of all telemetry of sagas. No semantic convention exists for sagas, so that these names are specific to
//! this crate.
//!
//! Follows `docs/conventions.md`: ids of instances are on spans only, never on metrics.

/// The saga's name, on spans and metrics.
pub const SAGA_NAME: &str = "saga.name";
/// The definition's version, on spans.
pub const SAGA_VERSION: &str = "saga.version";
/// The instance's id, on spans.
pub const SAGA_ID: &str = "saga.id";
/// The step's name, on spans and metrics.
pub const STEP_NAME: &str = "saga.step.name";
/// The step's kind: compensatable, pivot or forward; on spans.
pub const STEP_KIND: &str = "saga.step.kind";
/// The attempt's number, from 1, on spans.
pub const STEP_ATTEMPT: &str = "saga.step.attempt";
/// `action` or `compensation`, on spans and metrics.
pub const PHASE: &str = "saga.phase";
/// On the metric [`DURATION`] `completed` or `compensated`. On the span of an attempt `interrupted`, or `not_made` if
/// its intent did not get into the journal.
pub const OUTCOME: &str = "saga.outcome";
/// The outcome that an operator stated for a step: `done`, `refused` or `undone`; on the span of a resolution.
pub const RESOLUTION: &str = "saga.resolution";
/// The operator who stated it, on the span of a resolution.
pub const RESOLUTION_AUTHOR: &str = "saga.resolution.author";
/// The operator's reason, on the span of a resolution.
pub const RESOLUTION_REASON: &str = "saga.resolution.reason";
/// True on spans that recovery recorded again.
pub const RECOVERED: &str = "saga.recovered";
/// `running`, `parked`, `completed` or `compensated`, on gauges.
pub const STATE: &str = "saga.state";

/// The duration of sagas from start to end, in seconds.
pub const DURATION: &str = "saga.duration";
/// The duration of attempts, in seconds.
pub const STEP_DURATION: &str = "saga.step.duration";
/// The duration of appends to the journal, in seconds.
pub const APPEND_DURATION: &str = "saga.journal.append.duration";
/// The number of attempts after the first one.
pub const STEP_RETRIES: &str = "saga.step.retries";
/// The number of instances by state, read from the journal.
pub const INSTANCES: &str = "saga.instances";
/// The age of the oldest instance that has not ended, in seconds, read from the journal.
pub const OLDEST_AGE: &str = "saga.oldest.age";
/// The number of instances that were resumed after an interrupted attempt.
pub const RECOVERIES: &str = "saga.recoveries";
/// The number of appends that failed because the instance had changed.
pub const CONFLICTS: &str = "saga.journal.conflicts";

/// The name of the span of a start, in front of the saga's name.
pub const SPAN_START: &str = "saga start";
/// The name of the span of an action, in front of the step's name.
pub const SPAN_STEP: &str = "saga step";
/// The name of the span of a compensation, in front of the step's name.
pub const SPAN_COMPENSATE: &str = "saga compensate";
/// The name of the span of an operator's resolution, in front of the step's name.
pub const SPAN_RESOLVE: &str = "saga resolve";
