//! The bound on the metric series that untrusted values can make.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::method::Method;

/// The number of series per metric that the learned methods of one layer can still make.
#[derive(Debug)]
pub(crate) struct SeriesLimit(AtomicU32);

impl SeriesLimit {
    pub(crate) fn new(most: u32) -> Arc<Self> {
        Arc::new(Self(AtomicU32::new(most)))
    }

    fn take(&self) -> bool {
        let take = |left: u32| left.checked_sub(1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    fn give_back(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// The series of one method under a limit.
#[derive(Debug)]
pub(crate) struct LimitedSeries {
    limit: Arc<SeriesLimit>,
    /// A bit per key.
    admitted: AtomicU32,
    /// The method that records what the limit does not admit.
    rest: Arc<Method>,
}

impl LimitedSeries {
    pub(crate) fn new(limit: Arc<SeriesLimit>, rest: Arc<Method>) -> Self {
        Self { limit, admitted: AtomicU32::new(0), rest }
    }

    /// Returns the method that records the series of `key` in place of the limited one, if the limit is reached.
    pub(crate) fn replacement(&self, key: u8) -> Option<&Method> {
        let bit = 1 << key.min(31);
        if self.admitted.load(Ordering::Relaxed) & bit != 0 {
            return None;
        }
        if !self.limit.take() {
            return Some(&self.rest);
        }
        if self.admitted.fetch_or(bit, Ordering::Relaxed) & bit != 0 {
            // Another thread has admitted the same key.
            self.limit.give_back();
        }
        None
    }
}
