//! The arithmetic of consistent probability sampling: rejection thresholds and randomness, as pure functions.
//!
//! Follows the specifications of [probability
//! sampling](https://opentelemetry.io/docs/specs/otel/trace/tracestate-probability-sampling/) (definitions,
//! algorithms) and of [`tracestate` handling](https://opentelemetry.io/docs/specs/otel/trace/tracestate-handling/)
//! (`th`, `rv`).

use opentelemetry::trace::TraceId;

/// Number of bits of randomness and thresholds: the last seven bytes of a trace id.
const BITS: u32 = 56;
/// The number of values of the randomness.
const RANGE: u64 = 1 << BITS;
/// Number of significant hexadecimal digits of a threshold; the specification recommends four.
const PRECISION: i32 = 4;
/// Number of digits of an unabridged threshold and of an explicit randomness.
const DIGITS: usize = 14;

/// The number of the 2^56 values of the randomness that are rejected: a trace is kept if its randomness is not below
/// it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Threshold(u64);

impl Threshold {
    /// Keeps everything.
    pub(super) const ZERO: Self = Self(0);

    /// Returns the threshold of a probability, rounded to the precision with which it is written, so that the
    /// decision uses the number that is propagated.
    ///
    /// Returns `None` if nothing is kept: for zero, less than 2^-56, a negative number and NaN. More than one counts
    /// as one.
    pub(super) fn from_probability(probability: f64) -> Option<Self> {
        if probability >= 1.0 {
            return Some(Self::ZERO);
        }
        // Scaling by a power of two is exact, so that only this conversion rounds.
        let accepted = (probability * RANGE as f64).round() as u64;
        if accepted == 0 {
            return None;
        }
        let exact = RANGE - accepted;
        // The threshold of a small probability starts with digits `f`, which are not significant: the precision
        // counts from the first other digit.
        let leading = (accepted.leading_zeros() as i32 - (u64::BITS - BITS) as i32) / 4;
        let digits = PRECISION + leading;
        if digits >= DIGITS as i32 {
            return Some(Self(exact));
        }
        let cut = BITS - 4 * digits as u32;
        Some(Self(((exact + (1 << (cut - 1))) >> cut) << cut))
    }

    /// Returns the fraction of traces that it keeps.
    pub(super) fn probability(self) -> f64 {
        (RANGE - self.0) as f64 / RANGE as f64
    }

    /// Parses the value of `th`: one to fourteen hexadecimal digits; trailing zeros are implied.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || text.len() > DIGITS || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let digits = u64::from_str_radix(text, 16).ok()?;
        Some(Self(digits << (4 * (DIGITS - text.len()))))
    }

    /// Appends the value of `th`: hexadecimal, without trailing zeros.
    pub(super) fn push_to(self, out: &mut String) {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut left = self.0;
        loop {
            out.push(char::from(HEX[(left >> (BITS - 4)) as usize]));
            left = (left << 4) & (RANGE - 1);
            if left == 0 {
                return;
            }
        }
    }

    /// Returns true if a trace with this randomness is kept.
    pub(super) fn keeps(self, randomness: u64) -> bool {
        randomness >= self.0
    }
}

/// Returns the randomness of a trace id: its last seven bytes, as in [W3C Trace Context level
/// 2](https://www.w3.org/TR/trace-context-2/).
pub(super) fn randomness_of(trace_id: TraceId) -> u64 {
    u128::from_be_bytes(trace_id.to_bytes()) as u64 & (RANGE - 1)
}

/// Parses the value of `rv`: exactly fourteen hexadecimal digits in lower case.
pub(super) fn parse_randomness(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if text.len() != DIGITS || !digits {
        return None;
    }
    u64::from_str_radix(text, 16).ok()
}

#[cfg(test)]
pub(super) mod estimate {
    //! The estimates of a backend, written from the specification so that tests count independently of the sampler.

    use super::{RANGE, Threshold};

    /// Returns the probability with which a trace was kept.
    pub(in crate::sampler) fn probability(threshold: Threshold) -> f64 {
        (RANGE - threshold.0) as f64 / RANGE as f64
    }

    /// Returns the number of traces that a kept one represents.
    pub(in crate::sampler) fn adjusted_count(threshold: Threshold) -> f64 {
        RANGE as f64 / (RANGE - threshold.0) as f64
    }
}

#[cfg(test)]
mod tests;
