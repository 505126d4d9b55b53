//! The names of attributes, events and metrics. No semantic convention exists for resilience, so that these names are
//! specific to this crate.
//!
//! Follows `docs/conventions.md`: the names of policies come from the program, never from its input.

/// The name of a policy, on spans, events and metrics.
pub(crate) const NAME: &str = "resilience.name";

/// The pattern of a layer that refused a call.
pub(crate) const PATTERN: &str = "resilience.pattern";
/// The number of calls that a layer refused.
pub(crate) const REFUSED_CALLS: &str = "resilience.refused_calls";

/// A request ran into the deadline of its caller; an event of a server's span.
pub(crate) const DEADLINE_EXPIRED: &str = "resilience.deadline.expired";

/// A resend is about to wait for its turn; an event of the logical call, or of its caller.
pub(crate) const RETRY: &str = "resilience.retry";
/// The delay before a resend in seconds, on its event.
pub(crate) const RETRY_DELAY: &str = "resilience.retry.delay";
/// A failed call is not retried; an event.
pub(crate) const RETRY_EXHAUSTED: &str = "resilience.retry.exhausted";
/// The limit that ended the retries, on the event and the metric.
pub(crate) const RETRY_LIMIT: &str = "resilience.retry.limit";

/// The number of resends.
pub(crate) const RETRY_RESENDS: &str = "resilience.retry.resends";
/// The number of failed calls that a limit ended.
pub(crate) const RETRY_EXHAUSTED_CALLS: &str = "resilience.retry.exhausted_calls";
