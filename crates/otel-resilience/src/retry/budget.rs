//! The budget of resends, which keeps retries from multiplying the load of a backend that fails.
//!
//! Follows [tower's `TpsBudget`](https://docs.rs/tower/latest/tower/retry/budget/struct.TpsBudget.html).

use std::sync::Arc;
use std::time::Duration;

use tower::retry::budget::{Budget, TpsBudget};

/// The time after which a call no longer counts for the budget.
const WINDOW: Duration = Duration::from_secs(10);

/// A share of calls that may be resent. Clones share the budget.
///
/// Each call pays in, whether it fails or not, each resend takes out. Over the last 10 seconds at most `share` times the
/// number of calls, and `min_per_second` times 10, resends are made. Default: 20 % and 10 a second.
#[derive(Clone, Debug)]
pub struct RetryBudget(Arc<TpsBudget>);

impl RetryBudget {
    /// Creates a budget. `share` is 0.2 for one resend in five calls, and is limited to 0 to 1,000; NaN is taken for 0.
    #[must_use]
    pub fn new(share: f32, min_per_second: u32) -> Self {
        let share = if share.is_nan() { 0.0 } else { share.clamp(0.0, 1_000.0) };
        // Below that, tower computes a price that no reserve can pay.
        let share = if share < 0.001 { 0.0 } else { share };
        Self(Arc::new(TpsBudget::new(WINDOW, min_per_second.min(1_000_000), share)))
    }

    pub(crate) fn deposit(&self) {
        self.0.deposit();
    }

    pub(crate) fn withdraw(&self) -> bool {
        self.0.withdraw()
    }
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self::new(0.2, 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resends(budget: &RetryBudget, calls: u32) -> u32 {
        (0..calls).map(|_| budget.deposit()).for_each(drop);
        (0..100_000).map(|_| u32::from(budget.withdraw())).sum()
    }

    #[test]
    fn resends_are_a_share_of_calls_and_a_minimum() {
        assert_eq!(resends(&RetryBudget::new(0.2, 0), 100), 20);
        assert_eq!(resends(&RetryBudget::new(2.0, 0), 100), 200);
        assert_eq!(resends(&RetryBudget::new(0.0, 1), 100), 10);
        assert_eq!(resends(&RetryBudget::default(), 0), 100);
    }

    #[test]
    fn a_share_out_of_range_is_limited() {
        for share in [f32::NAN, -1.0, f32::NEG_INFINITY, 1e-30] {
            assert_eq!(resends(&RetryBudget::new(share, 0), 100), 0, "{share}");
        }
        assert_eq!(resends(&RetryBudget::new(f32::INFINITY, u32::MAX), 1), 100_000);
    }
}
