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

/// The name of a channel, on spans and metrics.
pub(crate) const CHANNEL_NAME: &str = "channel.name";
/// The time of an item in its channel in seconds, on spans.
pub(crate) const CHANNEL_QUEUE_TIME: &str = "channel.queue.time";
/// The number of items that are processed together, on spans.
pub(crate) const CHANNEL_BATCH_ITEM_COUNT: &str = "channel.batch.item_count";
/// The number of items of a batch without a link, on spans.
pub(crate) const CHANNEL_BATCH_LINKS_LEFT_OUT: &str = "channel.batch.links_left_out";

/// The duration of the processing of items, in seconds.
pub(crate) const CHANNEL_PROCESS_DURATION: &str = "channel.process.duration";
/// The time of items in their channel, in seconds.
pub(crate) const CHANNEL_QUEUE_DURATION: &str = "channel.queue.duration";
/// The number of items in a channel.
pub(crate) const CHANNEL_QUEUE_DEPTH: &str = "channel.queue.depth";
/// The number of items that were dropped before they were received.
pub(crate) const CHANNEL_DROPPED_ITEMS: &str = "channel.dropped.items";

/// The name of a lock, on its metric.
pub(crate) const LOCK_NAME: &str = "lock.name";
/// The time of waits for a lock that was not free, in seconds.
pub(crate) const LOCK_WAIT_DURATION: &str = "lock.wait.duration";
