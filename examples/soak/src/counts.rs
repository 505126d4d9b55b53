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

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::{add, equal, get};

    #[test]
    fn a_count_is_incremented_and_read() {
        let count = AtomicU64::new(0);
        assert_eq!((add(&count), add(&count), get(&count)), (1, 2, 2));
    }

    #[test]
    fn counts_that_differ_are_an_error() {
        assert_eq!(equal("calls", 3, 3), Ok("calls: 3 of 3".to_owned()));
        assert_eq!(equal("calls", 3, 2), Err("calls: 2 of 3".to_owned()));
    }
}
