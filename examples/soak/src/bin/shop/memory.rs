//! The resident memory of each service: its peaks in both halves of the run.

/// The maximum growth of a peak from the first half to the second, in KiB. Tables in memory of the catalogue and the stock are
/// part of it, which have an entry for each order.
const ALLOWED_GROWTH: u64 = 8 * 1024;

struct Process {
    name: &'static str,
    id: u32,
    peaks: [u64; 2],
}

pub(crate) struct Memory(Vec<Process>);

impl Memory {
    pub(crate) fn new(processes: Vec<(&'static str, u32)>) -> Self {
        Self(processes.into_iter().map(|(name, id)| Process { name, id, peaks: [0; 2] }).collect())
    }

    pub(crate) fn sample(&mut self, in_second_half: bool) {
        for process in &mut self.0 {
            let peak = &mut process.peaks[usize::from(in_second_half)];
            *peak = (*peak).max(soak::resident(process.id).unwrap_or(0));
        }
    }

    /// Returns the result of each process, with its name and both peaks.
    pub(crate) fn verdicts(&self) -> Vec<Result<String, String>> {
        let verdict = |Process { name, peaks: [first, second], .. }: &Process| {
            let text =
                format!("memory of {name}: peak of the first half {first} KiB, of the second {second} KiB");
            if *second <= first + ALLOWED_GROWTH { Ok(text) } else { Err(text) }
        };
        self.0.iter().map(verdict).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{ALLOWED_GROWTH, Memory, Process};

    #[test]
    fn growth_is_a_failure() {
        let process = |second| Process { name: "a", id: 1, peaks: [50_000, second] };
        let memory = Memory(vec![process(50_000 + ALLOWED_GROWTH), process(50_001 + ALLOWED_GROWTH)]);
        assert_eq!(memory.verdicts().iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false]);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_memory_of_a_process_is_read() {
        let mut memory = Memory::new(vec![("this one", std::process::id())]);
        memory.sample(false);
        memory.sample(true);
        assert!(memory.0[0].peaks.iter().all(|peak| *peak > 1000));
    }
}
