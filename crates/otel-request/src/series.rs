//! The bound on the metric series that untrusted values make.

use std::sync::atomic::{AtomicU32, Ordering};

/// The number of series that untrusted values have made in each metric of one layer, and its limit.
#[derive(Debug)]
pub struct SeriesLimit {
    made: AtomicU32,
    limit: u32,
}

impl SeriesLimit {
    /// Creates the limit of a layer.
    #[must_use]
    pub fn new(limit: u32) -> Self {
        Self { made: AtomicU32::new(0), limit }
    }

    /// Returns true if a new value may have series of its own. Values that have some may always make more, because a host or
    /// a method that is known must not lose its failures.
    #[must_use]
    pub fn has_room(&self) -> bool {
        // Relaxed: the count orders nothing else.
        self.made.load(Ordering::Relaxed) < self.limit
    }

    /// Counts a new series.
    pub fn add(&self) {
        self.made.fetch_add(1, Ordering::Relaxed);
    }
}
