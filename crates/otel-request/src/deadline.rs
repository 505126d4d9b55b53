//! The deadline of the current work, a value of the OpenTelemetry `Context`.
//!
//! Follows [gRPC's deadlines](https://grpc.io/docs/guides/deadlines/): one instant for a call and for all calls that it makes.

use std::time::Duration;

use opentelemetry::{Context, KeyValue};
use tokio::time::Instant;

/// The attribute with the time that is left until the deadline, in seconds.
pub const DEADLINE_REMAINING: &str = "resilience.deadline.remaining";

/// A duration that stands for "no limit" where an instant is needed, because clocks have a last instant.
const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// The instant by which the current work has to end.
///
/// It is a value of the OpenTelemetry [`Context`], so that it follows the trace into tasks and calls. The span of each client
/// call in such a context has the attribute `resilience.deadline.remaining`. The clock is tokio's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// Returns the deadline in `timeout` from now.
    #[must_use]
    pub fn after(timeout: Duration) -> Self {
        Self(Instant::now() + timeout.min(FAR))
    }

    /// Returns the deadline of the current context.
    #[must_use]
    pub fn current() -> Option<Self> {
        Context::map_current(Self::from_context)
    }

    /// Returns the deadline of a context.
    #[must_use]
    #[inline]
    pub fn from_context(context: &Context) -> Option<Self> {
        context.get::<Self>().copied()
    }

    /// Returns the context with this deadline, or with its own one if that is earlier: a deadline is only ever shortened.
    #[must_use]
    pub fn in_context(self, context: &Context) -> Context {
        context.with_value(Self::from_context(context).map_or(self, |own| own.min(self)))
    }

    /// Returns the time that is left, zero if the deadline has passed.
    #[must_use]
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Returns true if no time is left.
    #[must_use]
    pub fn has_passed(self) -> bool {
        self.remaining().is_zero()
    }

    /// Returns the deadline as an instant of tokio's clock.
    #[must_use]
    pub fn instant(self) -> Instant {
        self.0
    }

    /// Returns the deadline of the next of `steps` equal steps. Call it before each step with the number of steps that are
    /// left: time that a step does not need is then shared by those after it. 0 is taken for 1.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use otel_request::Deadline;
    /// let deadline = Deadline::after(Duration::from_secs(9));
    /// let of_first = deadline.split(3); // in three seconds
    /// # assert!(of_first.remaining() <= Duration::from_secs(3));
    /// # assert!(of_first.remaining() > Duration::from_secs(2));
    /// ```
    #[must_use]
    pub fn split(self, steps: u32) -> Self {
        Self::after(self.remaining() / steps.max(1))
    }

    /// Returns the deadline at this share of the time that is left. The share is between 0 and 1, otherwise the nearer of them;
    /// NaN is taken for 1.
    #[must_use]
    pub fn fraction(self, share: f64) -> Self {
        let share = if share.is_nan() { 1.0 } else { share.clamp(0.0, 1.0) };
        Self::after(self.remaining().mul_f64(share)).min(self)
    }

    /// Returns the attribute of a span in this context.
    #[inline]
    pub(crate) fn remaining_attribute(context: &Context) -> Option<KeyValue> {
        let deadline = Self::from_context(context)?;
        Some(KeyValue::new(DEADLINE_REMAINING, deadline.remaining().as_secs_f64()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_context_keeps_the_earlier_deadline() {
        let (early, late) = (Deadline::after(SECOND), Deadline::after(SECOND * 5));
        let context = early.in_context(&Context::new());
        assert_eq!(Deadline::from_context(&late.in_context(&context)), Some(early));
        let context = late.in_context(&Context::new());
        assert_eq!(Deadline::from_context(&early.in_context(&context)), Some(early));
        assert_eq!(Deadline::current(), None);
        let _attached = context.attach();
        assert_eq!(Deadline::current(), Some(late));
    }

    #[test]
    fn a_budget_is_split_over_steps() {
        let deadline = Deadline::after(SECOND * 60);
        let near = |part: Deadline, seconds: u64| {
            let left = part.remaining();
            left <= SECOND * u32::try_from(seconds).unwrap() && left > Duration::from_secs(seconds - 1)
        };
        assert!(near(deadline.split(3), 20));
        assert!(near(deadline.split(0), 60));
        assert!(near(deadline.fraction(0.5), 30));
        for whole in [1.0, 7.0, f64::NAN, f64::INFINITY] {
            assert!(near(deadline.fraction(whole), 60), "{whole}");
        }
        assert!(deadline.fraction(-1.0).has_passed());
    }

    #[test]
    fn a_limit_without_end_is_a_deadline_far_away() {
        assert!(Deadline::after(Duration::MAX).remaining() > Duration::from_secs(1 << 29));
        assert!(Deadline::after(Duration::ZERO).has_passed());
    }
}
