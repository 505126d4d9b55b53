//! The window of a circuit breaker: the results of the last calls, and the rate of failures among them.
//!
//! tower-resilience 0.13 has two windows: the one by count never forgets a call until the state changes, and the one by time
//! reads all its calls at each call. Follows [its failure models](https://docs.rs/tower-resilience-circuitbreaker).

/// The results of the last calls. Each step takes constant time.
#[derive(Debug)]
pub(super) struct Window {
    /// A ring: true is a failure.
    results: Box<[bool]>,
    next: usize,
    calls: usize,
    failures: usize,
}

impl Window {
    pub(super) fn new(size: usize) -> Self {
        Self { results: vec![false; size.max(1)].into(), next: 0, calls: 0, failures: 0 }
    }

    pub(super) fn clear(&mut self) {
        (self.next, self.calls, self.failures) = (0, 0, 0);
        self.results.fill(false);
    }

    /// Adds a result, and forgets the oldest one if the window is full.
    pub(super) fn add(&mut self, is_failure: bool) {
        let Some(slot) = self.results.get_mut(self.next) else { return };
        let forgotten = std::mem::replace(slot, is_failure);
        self.failures = self.failures + usize::from(is_failure) - usize::from(forgotten);
        self.calls = (self.calls + 1).min(self.results.len());
        self.next = (self.next + 1) % self.results.len();
    }

    /// Returns true if at least `rate` of at least `minimum` calls failed.
    #[expect(clippy::cast_precision_loss, reason = "a window has fewer than 2^52 calls")]
    pub(super) fn has_failed(&self, rate: f64, minimum: usize) -> bool {
        self.calls >= minimum && self.failures as f64 >= rate * self.calls as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_results_are_forgotten() {
        let mut window = Window::new(10);
        for _ in 0..1_000 {
            window.add(false);
        }
        for failures in 1..=10 {
            window.add(true);
            assert_eq!(window.has_failed(0.5, 10), failures >= 5, "{failures}");
        }
        for successes in 1..=10 {
            window.add(false);
            assert_eq!(window.has_failed(0.5, 10), successes <= 5, "{successes}");
        }
    }

    #[test]
    fn a_minimum_of_calls_is_needed_and_a_cleared_window_has_none() {
        let mut window = Window::new(4);
        window.add(true);
        window.add(true);
        assert!(!window.has_failed(0.5, 3));
        window.add(false);
        assert!(window.has_failed(0.5, 3));
        window.clear();
        assert!(!window.has_failed(0.5, 1));
        window.add(false);
        assert!(!window.has_failed(0.5, 1), "failures before are forgotten");
    }
}
