//! The adaptive sampler: about so many traces a second, whatever the load, with a probability that is told.
//!
//! Follows the
//! [probability sampling specification](https://opentelemetry.io/docs/specs/otel/trace/tracestate-probability-sampling/):
//! the probability depends on how many roots came before and never on the randomness of the one that is decided, so
//! that counts from `th` stay right.
//!
//! How it works: `c` is the number of roots seen, each of them forgotten exponentially with the time constant `τ`, so
//! that `c / τ` estimates their rate, and a root is kept with the probability `N·τ / c`. While that is below one,
//! the expected number kept in an interval of length `T` is `N·T + N·τ·ln(c_end / c_start)`: exact under any load.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::threshold::Threshold;

/// Short enough to follow a ramp, long enough that a probability does not jump with every root.
const MIN_MEMORY_MS: f64 = 1_000.0;
/// A rate of less than one trace in six seconds is estimated from fewer roots instead of over ever longer times.
const MAX_MEMORY_MS: f64 = 60_000.0;
/// So many kept traces are remembered where the limits above allow it; with fewer, the rate would be biased.
const MEMORY_TRACES: f64 = 10.0;
/// Threads read the clock before they write the state, so that one may come with a time that is a little old.
const LATE_MS: u32 = 10_000;

/// Where time comes from; tests have a clock of their own.
pub(super) trait Clock: fmt::Debug + Send + Sync {
    /// Milliseconds since some instant; wraps around after 49 days.
    fn millis(&self) -> u32;
}

#[derive(Debug)]
struct Monotonic(Instant);

impl Clock for Monotonic {
    fn millis(&self) -> u32 {
        self.0.elapsed().as_millis() as u32
    }
}

/// One rule's estimate of its load; shared by all clones of the sampler that has it.
pub(super) struct Adaptive {
    per_second: f64,
    memory_ms: f64,
    clock: Box<dyn Clock>,
    /// The time of the last root in milliseconds, and the bits of an `f32` that counts the remembered ones: one word,
    /// so that both change at once without a lock.
    state: AtomicU64,
}

impl Adaptive {
    pub(super) fn new(per_second: f64) -> Self {
        Self::with_clock(per_second, Box::new(Monotonic(Instant::now())))
    }

    pub(super) fn with_clock(per_second: f64, clock: Box<dyn Clock>) -> Self {
        let state = AtomicU64::new(pack(clock.millis(), 0.0));
        Self { per_second, memory_ms: memory_ms(per_second), clock, state }
    }

    /// Counts a root and gives the threshold that decides about it; `None` where nothing is kept.
    pub(super) fn observe(&self) -> Option<Threshold> {
        let now = self.clock.millis();
        let mut seen = self.state.load(Ordering::Relaxed);
        let count = loop {
            let (time, count) = counted(unpack(seen), now, self.memory_ms);
            // Relaxed is enough: the word is all that is shared.
            match self.state.compare_exchange_weak(
                seen,
                pack(time, count),
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => break count,
                Err(newer) => seen = newer,
            }
        };
        Threshold::from_probability(probability(self.per_second, self.memory_ms, count))
    }
}

impl fmt::Debug for Adaptive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (_, count) = unpack(self.state.load(Ordering::Relaxed));
        f.debug_struct("Adaptive")
            .field("traces_per_second", &self.per_second)
            .field("probability", &probability(self.per_second, self.memory_ms, count.max(1.0)))
            .finish_non_exhaustive()
    }
}

/// Over how long roots are remembered for a wanted rate, in milliseconds.
fn memory_ms(per_second: f64) -> f64 {
    (1_000.0 * MEMORY_TRACES / per_second).clamp(MIN_MEMORY_MS, MAX_MEMORY_MS)
}

/// The state after one more root, which came at `now`.
fn counted((time, count): (u32, f32), now: u32, memory_ms: f64) -> (u32, f32) {
    let elapsed = now.wrapping_sub(time);
    if elapsed == 0 || elapsed > u32::MAX - LATE_MS {
        return (time, count + 1.0);
    }
    let remembered = f64::from(count) * (-f64::from(elapsed) / memory_ms).exp();
    (now, remembered as f32 + 1.0)
}

/// The probability that keeps the wanted rate. A rate that is zero, negative or not a number keeps nothing.
fn probability(per_second: f64, memory_ms: f64, count: f32) -> f64 {
    per_second * memory_ms / 1_000.0 / f64::from(count)
}

fn pack(time: u32, count: f32) -> u64 {
    u64::from(time) << 32 | u64::from(count.to_bits())
}

fn unpack(state: u64) -> (u32, f32) {
    ((state >> 32) as u32, f32::from_bits(state as u32))
}

#[cfg(test)]
mod tests;
