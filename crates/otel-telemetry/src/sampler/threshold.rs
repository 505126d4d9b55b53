//! The arithmetic of consistent probability sampling: rejection thresholds and randomness, as pure functions.
//!
//! Follows the
//! [probability sampling specification](https://opentelemetry.io/docs/specs/otel/trace/tracestate-probability-sampling/)
//! (definitions, algorithms) and the
//! [`tracestate` handling specification](https://opentelemetry.io/docs/specs/otel/trace/tracestate-handling/) (`th`,
//! `rv`).

use opentelemetry::trace::TraceId;

/// Randomness and thresholds have this many bits: the last seven bytes of a trace id.
const BITS: u32 = 56;
/// One more than the largest randomness, and so the number of traces of which a threshold is a share.
const RANGE: u64 = 1 << BITS;
/// The significant hexadecimal digits of a threshold, which is what the specification recommends to SDKs.
const PRECISION: i32 = 4;
/// The digits of a threshold that is written in full, and of an explicit randomness.
const DIGITS: usize = 14;

/// How many of 2^56 traces are rejected: a trace is kept if its randomness is not below this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Threshold(u64);

impl Threshold {
    /// Everything is kept.
    pub(super) const ZERO: Self = Self(0);

    /// The threshold of a probability, rounded to the precision with which it is written: what is decided and what is
    /// told must be the same number.
    ///
    /// `None` where nothing is ever kept: zero, less than 2^-56, negative, or not a number. More than one is one.
    pub(super) fn from_probability(probability: f64) -> Option<Self> {
        if probability >= 1.0 {
            return Some(Self::ZERO);
        }
        // Scaling by a power of two loses nothing, so that the only rounding is to whole traces.
        let accepted = (probability * RANGE as f64).round() as u64;
        if accepted == 0 {
            return None;
        }
        let exact = RANGE - accepted;
        // A small probability gives a threshold with leading `f`s, which say nothing: precision counts from behind them.
        let leading = (accepted.leading_zeros() as i32 - (u64::BITS - BITS) as i32) / 4;
        let digits = PRECISION + leading;
        if digits >= DIGITS as i32 {
            return Some(Self(exact));
        }
        let cut = BITS - 4 * digits as u32;
        Some(Self(((exact + (1 << (cut - 1))) >> cut) << cut))
    }

    /// Reads the value of `th`: one to fourteen hexadecimal digits, to which trailing zeros are added.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || text.len() > DIGITS || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let digits = u64::from_str_radix(text, 16).ok()?;
        Some(Self(digits << (4 * (DIGITS - text.len()))))
    }

    /// The value of `th`: hexadecimal, trailing zeros left out.
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

    /// Whether a trace of this randomness is kept.
    pub(super) fn keeps(self, randomness: u64) -> bool {
        randomness >= self.0
    }
}

/// The randomness of a trace: the last seven bytes of its id, as W3C Trace Context level 2 has it.
pub(super) fn randomness_of(trace_id: TraceId) -> u64 {
    u128::from_be_bytes(trace_id.to_bytes()) as u64 & (RANGE - 1)
}

/// Reads the value of `rv`: exactly fourteen hexadecimal digits in lower case.
pub(super) fn parse_randomness(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if text.len() != DIGITS || !digits {
        return None;
    }
    u64::from_str_radix(text, 16).ok()
}

#[cfg(test)]
pub(super) mod estimate {
    //! What a backend makes of a threshold, written here from the specification so that tests count as it does.

    use super::{RANGE, Threshold};

    /// How likely a trace was to be kept.
    pub(in crate::sampler) fn probability(threshold: Threshold) -> f64 {
        (RANGE - threshold.0) as f64 / RANGE as f64
    }

    /// For how many traces one that was kept stands.
    pub(in crate::sampler) fn adjusted_count(threshold: Threshold) -> f64 {
        RANGE as f64 / (RANGE - threshold.0) as f64
    }
}

#[cfg(test)]
mod tests;
