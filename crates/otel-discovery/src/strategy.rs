//! The strategies by which an endpoint is chosen.
//!
//! Follows [Envoy's load balancers](https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/load_balancers).

use std::sync::atomic::{AtomicUsize, Ordering};

/// The strategy by which an endpoint is chosen among the candidates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Strategy {
    /// One after the other, in the order of their ids.
    #[default]
    RoundRobin,
    /// Each with the same probability.
    Random,
    /// Each with a probability in proportion to its weight.
    Weighted,
    /// Of two that are chosen at random the one with fewer calls without a response.
    LeastPending,
}

impl Strategy {
    /// Returns the name, as spans and metrics have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RoundRobin => "round_robin",
            Self::Random => "random",
            Self::Weighted => "weighted",
            Self::LeastPending => "least_pending",
        }
    }

    /// Returns the index of one of `count` candidates, of which there is at least one. `weights` are sums up to each candidate.
    pub(crate) fn choose(
        self,
        count: usize,
        turn: &AtomicUsize,
        weights: &[u64],
        pending: impl Fn(usize) -> usize,
    ) -> usize {
        match self {
            Self::RoundRobin => turn.fetch_add(1, Ordering::Relaxed) % count,
            Self::Weighted if weights.len() == count => {
                let total = weights.last().copied().unwrap_or(1).max(1);
                let point = fastrand::u64(0..total);
                weights.partition_point(|sum| *sum <= point).min(count - 1)
            }
            Self::LeastPending if count > 1 => {
                let first = fastrand::usize(0..count);
                let second = (first + fastrand::usize(1..count)) % count;
                if pending(second) < pending(first) { second } else { first }
            }
            _ => fastrand::usize(0..count),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of times that each of three candidates is chosen.
    fn counts(strategy: Strategy, pending: [usize; 3]) -> [u32; 3] {
        let (turn, mut counts) = (AtomicUsize::new(0), [0; 3]);
        fastrand::seed(7);
        for _ in 0..3_000 {
            counts[strategy.choose(3, &turn, &[1, 3, 10], |at| pending[at])] += 1;
        }
        counts
    }

    #[test]
    fn each_strategy_chooses_by_its_rule() {
        assert_eq!(counts(Strategy::RoundRobin, [0; 3]), [1_000; 3]);
        let close = |counts: [u32; 3], expected: [u32; 3]| {
            counts.iter().zip(expected).all(|(count, expected)| count.abs_diff(expected) < 150)
        };
        assert!(close(counts(Strategy::Random, [0; 3]), [1_000; 3]));
        assert!(close(counts(Strategy::Weighted, [0; 3]), [300, 600, 2_100]));
        // The busiest is never chosen, the one between them if it meets the busiest.
        assert!(close(counts(Strategy::LeastPending, [0, 5, 9]), [2_000, 1_000, 0]));
        assert_eq!(counts(Strategy::LeastPending, [0, 5, 9])[2], 0);
    }
}
