//! The delay between attempts: exponential with jitter, or what the collector asks for.
//!
//! Follows "OTLP/HTTP Throttling" and "OTLP/gRPC Throttling" of the [OTLP
//! specification](https://opentelemetry.io/docs/specs/otlp/#failures).

use std::time::Duration;

use tokio::time::Instant;

/// The upper bound of the first delay.
const FIRST: Duration = Duration::from_millis(250);
/// The upper bound of all delays that the collector does not ask for.
const LONGEST: Duration = Duration::from_secs(4);
/// The upper bound of delays during a shutdown, whose deadline is a few seconds.
pub(super) const AT_SHUTDOWN: Duration = Duration::from_millis(250);

/// The retry advice of a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retry {
    /// The collector cannot accept these records.
    Never,
    /// The collector may accept the same records later.
    Backoff,
    /// The collector asks for this delay.
    After(Duration),
}

/// The state of the back-off. It survives a batch that is given up, so that its successor does not arrive earlier.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
    /// The earliest time of the next attempt.
    pub(super) not_before: Option<Instant>,
    /// True if the collector asked for the delay.
    pub(super) is_requested: bool,
}

impl Backoff {
    /// Returns the delay before the next attempt, and begins it. `random` is from 0 to 1.
    pub(super) fn next(&mut self, asked: Option<Duration>, now: Instant, random: f64) -> Duration {
        let bound = FIRST.saturating_mul(1 << self.failures.min(10)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        // Between a half and all of the bound, so that the clients of a collector do not return at the same time.
        let delay = bound.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0);
        let delay = asked.map_or(delay, |asked| asked.max(delay));
        self.is_requested = asked.is_some();
        self.not_before = now.checked_add(delay);
        delay
    }

    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest() {
        let now = Instant::now();
        let mut backoff = Backoff::default();
        let mut next = |random| backoff.next(None, now, random).as_millis();
        let delays: Vec<_> = (0..6).map(|_| next(1.0)).collect();
        assert_eq!(delays, [250, 500, 1000, 2000, 4000, 4000]);
        assert_eq!(next(0.0), 2000);
    }

    #[test]
    fn a_requested_delay_is_kept_unless_the_own_is_longer() {
        let now = Instant::now();
        let mut backoff = Backoff::default();
        assert_eq!(backoff.next(Some(Duration::from_secs(9)), now, 1.0), Duration::from_secs(9));
        assert!(backoff.is_requested);
        assert_eq!(backoff.not_before, Some(now + Duration::from_secs(9)));
        assert_eq!(backoff.next(Some(Duration::ZERO), now, 1.0), Duration::from_millis(500));
        backoff.reset();
        assert_eq!(backoff.next(None, now, 1.0), FIRST);
        assert!(!backoff.is_requested);
    }
}
