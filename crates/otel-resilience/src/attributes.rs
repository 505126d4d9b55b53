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

/// A call waited for a place or a permit; an event.
pub(crate) const WAIT: &str = "resilience.wait";
/// The time of a wait in seconds, on its event and on the span of a refused call.
pub(crate) const WAIT_TIME: &str = "resilience.wait.time";
/// The time of waits for a place or a permit, in seconds.
pub(crate) const WAIT_DURATION: &str = "resilience.wait.duration";

/// A circuit breaker changed its state; an event of the call that caused it.
pub(crate) const BREAKER_TRANSITION: &str = "resilience.circuit_breaker.transition";
/// The new state of a circuit breaker, on the event and the metric.
pub(crate) const BREAKER_STATE: &str = "resilience.circuit_breaker.state";
/// The state of a circuit breaker before, on the event.
pub(crate) const BREAKER_PREVIOUS_STATE: &str = "resilience.circuit_breaker.previous_state";
/// The number of changes of the state.
pub(crate) const BREAKER_TRANSITIONS: &str = "resilience.circuit_breaker.transitions";

/// A call was sent a second time; an event of its caller.
pub(crate) const HEDGE: &str = "resilience.hedge";
/// The time after which a call was sent a second time in seconds, on the event.
pub(crate) const HEDGE_DELAY: &str = "resilience.hedge.delay";
/// The number of calls that were sent a second time.
pub(crate) const HEDGE_ATTEMPTS: &str = "resilience.hedge.attempts";
/// The number of calls whose second attempt was faster.
pub(crate) const HEDGE_WINS: &str = "resilience.hedge.wins";

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
