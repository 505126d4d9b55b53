//! Whether memory stays flat: the resident set, sampled while operations go by.

use std::sync::{Mutex, PoisonError};

/// By how much the second half's peak may exceed the first half's, in KiB. One thing of 50 bytes that is kept for each
/// operation is more than that over the 100,000 operations of half a run.
const ALLOWED_GROWTH: u64 = 4096;

/// In fewer operations than these, caches and pools are still filling up, and there is nothing to be said.
const ENOUGH: u64 = 10_000;

/// Samples of the resident set.
#[derive(Debug)]
pub struct Memory {
    operations: u64,
    samples: Mutex<[u64; 2]>,
}

impl Memory {
    /// For a run of so many operations.
    #[must_use]
    pub fn new(operations: u64) -> Self {
        Self { operations, samples: Mutex::new([0; 2]) }
    }

    /// Takes a sample after so many operations. In KiB; `None` where the system does not tell.
    pub fn sample(&self, done: u64) -> Option<u64> {
        let resident = resident()?;
        let half = usize::from(done > self.operations / 2);
        let mut peaks = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        peaks[half] = peaks[half].max(resident);
        Some(resident)
    }

    /// What is to be said of it: good, or bad.
    ///
    /// # Errors
    /// If memory has grown.
    pub fn verdict(&self) -> Result<String, String> {
        let [first, second] = *self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        if second == 0 {
            return Ok("memory: not judged, this system does not tell it".to_owned());
        }
        let text = format!(
            "memory: peak of the first half {first} KiB, of the second {second} KiB (may grow by {ALLOWED_GROWTH} KiB)"
        );
        if self.operations < ENOUGH {
            return Ok(format!("{text}; not judged below {ENOUGH} operations"));
        }
        if second > first + ALLOWED_GROWTH { Err(text) } else { Ok(text) }
    }
}

/// The resident set in KiB, from Linux' `/proc`.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{ALLOWED_GROWTH, ENOUGH, Memory, resident};

    fn verdict(operations: u64, first: u64, second: u64) -> Result<String, String> {
        let memory = Memory::new(operations);
        *memory.samples.lock().unwrap() = [first, second];
        memory.verdict()
    }

    #[test]
    fn growth_is_judged_by_peaks() {
        assert!(verdict(ENOUGH, 20_000, 20_000 + ALLOWED_GROWTH).is_ok());
        assert!(verdict(ENOUGH, 20_000, 20_001 + ALLOWED_GROWTH).is_err());
        assert!(verdict(ENOUGH, 20_000, 10_000).is_ok());
        assert!(verdict(ENOUGH - 1, 20_000, 90_000).unwrap().ends_with("not judged below 10000 operations"));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn memory_that_is_kept_is_seen() {
        let memory = Memory::new(ENOUGH);
        memory.sample(1).unwrap();
        let kept = vec![1_u8; 64 << 20];
        memory.sample(ENOUGH).unwrap();
        assert!(kept.iter().all(|byte| *byte == 1));
        assert!(memory.verdict().is_err(), "{:?}", resident());
    }
}
