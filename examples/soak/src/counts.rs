//! Counts that several tasks increment, and their comparison.

use std::sync::atomic::{AtomicU64, Ordering};

/// Increments the count and returns the new value.
pub fn add(count: &AtomicU64) -> u64 {
    count.fetch_add(1, Ordering::SeqCst) + 1
}

/// Returns the count.
pub fn get(count: &AtomicU64) -> u64 {
    count.load(Ordering::SeqCst)
}

/// Checks that two counts are equal.
///
/// # Errors
/// The name and both counts, if they differ.
pub fn equal(name: &str, expected: u64, actual: u64) -> Result<String, String> {
    let text = format!("{name}: {actual} of {expected}");
    if actual == expected { Ok(text) } else { Err(text) }
}
