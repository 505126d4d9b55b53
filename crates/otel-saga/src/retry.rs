//! The back-off between attempts of a step.
//!
//! Follows `docs/sagas.md`, "Retries and alerts": the wait is between attempts, bounded, and spread, so that
//! instances that failed together do not retry together.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

/// Exponential back-off: each wait is twice the one before, up to a maximum, and shortened by up to a half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryPolicy {
    first: Duration,
    longest: Duration,
    attempts: u32,
    interruptions: u32,
    jitter: bool,
}

impl Default for RetryPolicy {
    /// 5 attempts, 100 ms to 30 s apart.
    fn default() -> Self {
        Self::exponential(Duration::from_millis(100), Duration::from_secs(30))
    }
}

impl RetryPolicy {
    /// Creates a policy that waits `first` after the first failure and twice as long after each further one,
    /// `longest` at most. It makes 5 attempts.
    #[must_use]
    pub fn exponential(first: Duration, longest: Duration) -> Self {
        Self { first, longest: longest.max(first), attempts: 5, interruptions: 10, jitter: true }
    }

    /// Sets the number of failed attempts after which a compensatable step is given up and undone; at least 1. Pivots,
    /// forward steps and compensations are retried without end: for them it is the number of attempts after which
    /// each failure raises an alert.
    #[must_use]
    pub fn with_attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// Sets the number of attempts in succession that may be interrupted by a crash or a shutdown of their worker
    /// (default: 10); at least 1. After it the saga is parked, because the attempt itself may be the cause. From the
    /// second interruption on, the next attempt waits as after a failure.
    #[must_use]
    pub fn with_interruptions(mut self, interruptions: u32) -> Self {
        self.interruptions = interruptions.max(1);
        self
    }

    /// Disables the shortening, so that each wait has its exact length. Suits applications with one instance at a
    /// time.
    #[must_use]
    pub fn without_jitter(mut self) -> Self {
        self.jitter = false;
        self
    }

    pub(crate) fn attempts(&self) -> u32 {
        self.attempts
    }

    pub(crate) fn interruptions(&self) -> u32 {
        self.interruptions
    }

    pub(crate) fn longest(&self) -> Duration {
        self.longest
    }

    /// Returns the wait after this attempt, counted from 1. The jitter depends on `key`, the instance.
    pub(crate) fn delay(&self, attempt: u32, key: &str) -> Duration {
        let doubled = 2_u32.saturating_pow(attempt.saturating_sub(1));
        let delay = self.first.saturating_mul(doubled).min(self.longest);
        if !self.jitter {
            return delay;
        }
        let mut hasher = DefaultHasher::new();
        (key, attempt).hash(&mut hasher);
        // Between a half and all of it, in steps of 1/1024.
        let part = u32::try_from(hasher.finish() % 513).unwrap_or_default();
        delay.saturating_mul(512 + part) / 1024
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let policy =
            RetryPolicy::exponential(Duration::from_millis(100), Duration::from_secs(1)).without_jitter();
        let waits = [1, 2, 3, 4, 5, 200].map(|attempt| policy.delay(attempt, "k").as_millis());
        assert_eq!(waits, [100, 200, 400, 800, 1000, 1000]);
    }

    #[test]
    fn jitter_shortens_by_up_to_a_half_and_tells_instances_apart() {
        let policy = RetryPolicy::exponential(Duration::from_secs(1), Duration::from_secs(1));
        let waits: Vec<u128> =
            (0..100).map(|key| policy.delay(1, &format!("order/{key}")).as_millis()).collect();
        assert!(waits.iter().all(|wait| (500..=1000).contains(wait)), "{waits:?}");
        let different: std::collections::HashSet<_> = waits.iter().collect();
        assert!(different.len() > 50, "{waits:?}");
    }
}
