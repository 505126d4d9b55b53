//! The retry policy: attempts, delays, the budget, and their record.
//!
//! Follows [RFC 9110](https://www.rfc-editor.org/rfc/rfc9110#section-9.2.2), "Idempotent Methods", and [gRPC's retry
//! design](https://github.com/grpc/proposal/blob/master/A6-client-retries.md).

mod after;
mod attempts;
mod budget;
mod closure;
mod http;
mod logical;
mod progress;
mod rules;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

pub use self::attempts::{AttemptService, RetryAttempts};
pub use self::budget::RetryBudget;
pub use self::http::{RetryFuture, RetryLayer, RetryService};
pub use self::logical::LogicalCall;
use crate::instrumentation::ResilienceInstrumentation;

/// A retry policy. [`RetryLayer`] applies it to HTTP and gRPC, [`run`](Self::run) to a closure. Clones share the budget.
///
/// Default: three attempts, delays from 50 ms to 2 s, a `Retry-After` of at most 30 s, [`RetryBudget::default`], no span of
/// its own.
#[derive(Clone, Debug)]
pub struct Retry(Arc<Settings>);

#[derive(Clone, Debug)]
struct Settings {
    name: Cow<'static, str>,
    max_attempts: u32,
    min_delay: Duration,
    max_delay: Duration,
    max_retry_after: Duration,
    budget: RetryBudget,
    has_span: bool,
    instrumentation: ResilienceInstrumentation,
}

impl Retry {
    /// Creates a policy. Its name is on spans, events and metrics: take it from the program, never from input.
    #[must_use]
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        Self(Arc::new(Settings {
            name: name.into(),
            max_attempts: 3,
            min_delay: Duration::from_millis(50),
            max_delay: Duration::from_secs(2),
            max_retry_after: Duration::from_secs(30),
            budget: RetryBudget::default(),
            has_span: false,
            instrumentation: ResilienceInstrumentation::global().clone(),
        }))
    }

    fn edit(mut self, edit: impl FnOnce(&mut Settings)) -> Self {
        edit(Arc::make_mut(&mut self.0));
        self
    }

    /// Sets the number of attempts of a call, the first one included. 0 is taken for 1.
    #[must_use]
    pub fn with_max_attempts(self, attempts: u32) -> Self {
        self.edit(|settings| settings.max_attempts = attempts.max(1))
    }

    /// Sets the delays. The first one is `min`, each further one twice the one before, at most `max`. Of each, a random part up to a
    /// half is taken off, so that the callers of a server that failed do not return at once.
    #[must_use]
    pub fn with_delays(self, min: Duration, max: Duration) -> Self {
        self.edit(|settings| (settings.min_delay, settings.max_delay) = (min, max.max(min)))
    }

    /// Sets the longest `Retry-After` that is waited for. A call whose server asks for more is not retried, because a server
    /// that is asked earlier would refuse again.
    #[must_use]
    pub fn with_max_retry_after(self, max: Duration) -> Self {
        self.edit(|settings| settings.max_retry_after = max)
    }

    /// Sets the budget. Give the policies of one backend clones of one budget.
    #[must_use]
    pub fn with_budget(self, budget: RetryBudget) -> Self {
        self.edit(|settings| settings.budget = budget)
    }

    /// Records a span around the attempts of each call, with the name of the policy. Default: `false`, the attempts are
    /// children of the caller's span.
    #[must_use]
    pub fn with_span(self, has_span: bool) -> Self {
        self.edit(|settings| settings.has_span = has_span)
    }

    /// Uses this instrumentation instead of the global one.
    #[must_use]
    pub fn with_instrumentation(self, instrumentation: &ResilienceInstrumentation) -> Self {
        self.edit(|settings| settings.instrumentation = instrumentation.clone())
    }

    /// Returns the delay before the resend with this number, which begins at 0.
    fn delay(&self, resend: u32) -> Duration {
        let Settings { min_delay, max_delay, .. } = &*self.0;
        let delay = min_delay.saturating_mul(2_u32.saturating_pow(resend)).min(*max_delay);
        delay.mul_f64(1.0 - fastrand::f64() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_their_maximum_and_are_never_the_same() {
        let ms = Duration::from_millis;
        let retry = Retry::new("a").with_delays(ms(100), ms(350));
        for (resend, most) in [(0, 100), (1, 200), (2, 350), (3, 350), (40, 350), (u32::MAX, 350)] {
            let delays: Vec<_> = (0..50).map(|_| retry.delay(resend)).collect();
            assert!(delays.iter().all(|delay| *delay <= ms(most) && *delay >= ms(most) / 2), "{delays:?}");
            assert!(delays.windows(2).any(|pair| pair[0] != pair[1]), "{delays:?}");
        }
        assert_eq!(Retry::new("a").with_delays(Duration::ZERO, Duration::ZERO).delay(3), Duration::ZERO);
        assert!(Retry::new("a").with_delays(Duration::MAX, Duration::MAX).delay(3) > ms(1));
    }
}
