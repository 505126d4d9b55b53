//! The adaptive sampler: keeps about a given number of traces a second under any load, and writes its probability.
//!
//! Follows the specification of [probability
//! sampling](https://opentelemetry.io/docs/specs/otel/trace/tracestate-probability-sampling/): the probability
//! depends on the number of earlier roots and never on the randomness of the current one, so that counts estimated
//! from `th` are unbiased.
//!
//! Algorithm: `c` is the number of roots seen, each weighted with a decay of time constant `τ`, so that `c / τ`
//! estimates their rate. A root is kept with the probability `N·τ / c`. While that is below one, the expected number
//! kept in an interval of length `T` is `N·T + N·τ·ln(c_end / c_start)`, exactly and under any load.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::threshold::Threshold;

/// Short enough to follow a ramp, and long enough that the probability does not jump with every root.
const MIN_MEMORY_MS: f64 = 1_000.0;
/// Limits the memory for rates below one trace in six seconds; they are estimated from fewer roots instead.
const MAX_MEMORY_MS: f64 = 60_000.0;
/// Number of kept traces that the memory covers within the limits above; with fewer, the rate would be biased.
const MEMORY_TRACES: f64 = 10.0;
/// Maximum age of a clock reading: threads read the clock before they write the state, so that a reading can be older
/// than the state.
const LATE_MS: u32 = 10_000;

/// The source of time; tests use a manual clock.
pub(super) trait Clock: fmt::Debug + Send + Sync {
    /// Returns milliseconds since a fixed instant; wraps around after 49 days.
    fn millis(&self) -> u32;
}

#[derive(Debug)]
struct Monotonic(Instant);

impl Clock for Monotonic {
    fn millis(&self) -> u32 {
        self.0.elapsed().as_millis() as u32
    }
}

/// The estimate of the load for one sampler; shared by its clones.
pub(super) struct Adaptive {
    per_second: f64,
    memory_ms: f64,
    clock: Box<dyn Clock>,
    /// The time of the last root in milliseconds and the bits of the decayed count as an `f32`, in one word, so that
    /// both change atomically without a lock.
    state: AtomicU64,
}

impl Adaptive {
    pub(super) fn per_second(&self) -> f64 {
        self.per_second
    }

    pub(super) fn new(per_second: f64) -> Self {
        Self::with_clock(per_second, Box::new(Monotonic(Instant::now())))
    }

    pub(super) fn with_clock(per_second: f64, clock: Box<dyn Clock>) -> Self {
        let state = AtomicU64::new(pack(clock.millis(), 0.0));
        Self { per_second, memory_ms: memory_ms(per_second), clock, state }
    }

    /// Counts a root and returns the threshold that decides about it; `None` if nothing is kept.
    pub(super) fn observe(&self) -> Option<Threshold> {
        let now = self.clock.millis();
        let mut seen = self.state.load(Ordering::Relaxed);
        let count = loop {
            let (time, count) = counted(unpack(seen), now, self.memory_ms);
            // Relaxed ordering suffices, because no other memory is shared.
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

/// Returns the time constant for a rate, in milliseconds.
fn memory_ms(per_second: f64) -> f64 {
    (1_000.0 * MEMORY_TRACES / per_second).clamp(MIN_MEMORY_MS, MAX_MEMORY_MS)
}

/// Returns the state after one more root at `now`.
fn counted((time, count): (u32, f32), now: u32, memory_ms: f64) -> (u32, f32) {
    let elapsed = now.wrapping_sub(time);
    if elapsed == 0 || elapsed > u32::MAX - LATE_MS {
        return (time, count + 1.0);
    }
    let remembered = f64::from(count) * (-f64::from(elapsed) / memory_ms).exp();
    (now, remembered as f32 + 1.0)
}

/// Returns the probability that keeps the rate. A rate that is zero, negative or NaN keeps nothing.
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
