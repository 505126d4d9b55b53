//! The memory check: samples of the resident set during a run.

use std::sync::{Mutex, PoisonError};

/// The maximum growth of the peak from the first half to the second, in KiB. A leak of 50 bytes per operation exceeds
/// it within the 100,000 operations of half a run.
const ALLOWED_GROWTH: u64 = 4096;

/// The minimum number of operations for the check, because caches and pools fill up in shorter runs.
const MIN_OPERATIONS: u64 = 10_000;

/// Samples of the resident set.
#[derive(Debug)]
pub struct Memory {
    operations: u64,
    samples: Mutex<[u64; 2]>,
}

impl Memory {
    /// Creates the check for a run of this many operations.
    #[must_use]
    pub fn new(operations: u64) -> Self {
        Self { operations, samples: Mutex::new([0; 2]) }
    }

    /// Takes a sample after `done` operations. Returns the resident set in KiB, or `None` on systems without `/proc`.
    pub fn sample(&self, done: u64) -> Option<u64> {
        let resident = resident(std::process::id())?;
        let half = usize::from(done > self.operations / 2);
        let mut peaks = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        peaks[half] = peaks[half].max(resident);
        Some(resident)
    }

    /// Takes a sample after each of 200 parts of the run, and prints every twentieth.
    #[expect(clippy::print_stdout, reason = "a soak prints to its terminal")]
    pub fn progress(&self, done: u64) {
        let parts = |parts: u64| done.is_multiple_of((self.operations / parts).max(1));
        if !parts(200) {
            return;
        }
        let resident = self.sample(done);
        if parts(10) {
            let resident = resident.map_or_else(String::new, |kib| format!(", resident {kib} KiB"));
            println!("{done:>9} of {}{resident}", self.operations);
        }
    }

    /// Returns a description of the result.
    ///
    /// # Errors
    /// If memory has grown by more than the limit.
    pub fn verdict(&self) -> Result<String, String> {
        let [first, second] = *self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        if second == 0 {
            return Ok("memory: not checked, because this system has no /proc".to_owned());
        }
        let text = format!(
            "memory: peak of the first half {first} KiB, of the second {second} KiB (limit: growth of {ALLOWED_GROWTH} KiB)"
        );
        if self.operations < MIN_OPERATIONS {
            return Ok(format!("{text}; not checked below {MIN_OPERATIONS} operations"));
        }
        if second > first + ALLOWED_GROWTH { Err(text) } else { Ok(text) }
    }
}

/// Reads the resident set of a process in KiB from Linux' `/proc`.
#[must_use]
pub fn resident(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{ALLOWED_GROWTH, MIN_OPERATIONS, Memory, resident};

    fn verdict(operations: u64, first: u64, second: u64) -> Result<String, String> {
        let memory = Memory::new(operations);
        *memory.samples.lock().unwrap() = [first, second];
        memory.verdict()
    }

    #[test]
    fn growth_is_measured_by_peaks() {
        assert!(verdict(MIN_OPERATIONS, 20_000, 20_000 + ALLOWED_GROWTH).is_ok());
        assert!(verdict(MIN_OPERATIONS, 20_000, 20_001 + ALLOWED_GROWTH).is_err());
        assert!(verdict(MIN_OPERATIONS, 20_000, 10_000).is_ok());
        assert!(
            verdict(MIN_OPERATIONS - 1, 20_000, 90_000)
                .unwrap()
                .ends_with("not checked below 10000 operations")
        );
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_leak_is_detected() {
        let memory = Memory::new(MIN_OPERATIONS);
        memory.sample(1).unwrap();
        let leak = vec![1_u8; 64 << 20];
        memory.sample(MIN_OPERATIONS).unwrap();
        assert!(leak.iter().all(|byte| *byte == 1));
        assert!(memory.verdict().is_err(), "{:?}", resident(std::process::id()));
    }
}
