//! The names of attributes and metrics. No semantic convention exists for tasks and channels inside a process, so that these
//! names are specific to this crate.
//!
//! Follows `docs/conventions.md`: the names of tasks and channels come from the program, never from its input.

/// The name of a task, on metrics.
pub(crate) const TASK_NAME: &str = "task.name";
/// The time from the spawn of a task to its first poll in seconds, on spans.
pub(crate) const TASK_QUEUE_TIME: &str = "task.queue.time";
/// The reason of a cancellation, on spans.
pub(crate) const CANCELLATION_REASON: &str = "task.cancellation.reason";

/// The duration of tasks from spawn to end, in seconds.
pub(crate) const TASK_DURATION: &str = "task.duration";
/// The time from the spawn of tasks to their first poll, in seconds.
pub(crate) const TASK_QUEUE_DURATION: &str = "task.queue.duration";
/// The number of tasks that have been spawned and have not ended.
pub(crate) const TASK_ACTIVE: &str = "task.active";
