//! A hash table with linear probing that only grows and is read without a lock.
//!
//! Follows <https://en.wikipedia.org/wiki/Linear_probing>, in levels in place of one array that is copied when it grows.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

type Slot<T> = OnceLock<(u64, T)>;

/// The slots of the first level; each further one has four times as many.
const FIRST_LEVEL: usize = 64;

/// The number of levels, which have 22 million slots together.
const LEVELS: usize = 10;

/// The slots of a level that one hash may use, from its own place on.
const PROBES: usize = 4;

/// Entries by their hash. The levels are allocated as they are needed.
pub(super) struct OnceTable<T> {
    levels: [OnceLock<Box<[Slot<T>]>>; LEVELS],
    len: AtomicUsize,
    growing: Mutex<()>,
}

impl<T> OnceTable<T> {
    pub(super) const fn new() -> Self {
        Self {
            levels: [const { OnceLock::new() }; LEVELS],
            len: AtomicUsize::new(0),
            growing: Mutex::new(()),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    /// Returns the entry that `is` accepts among those of a hash.
    #[inline]
    pub(super) fn get(&self, hash: u64, is: impl Fn(&T) -> bool) -> Option<&T> {
        for level in self.levels.iter().map_while(OnceLock::get) {
            for slot in probes(level, hash) {
                // An entry is in the first free slot of the first level that had one, and slots are never freed.
                let (other, entry) = slot.get()?;
                if *other == hash && is(entry) {
                    return Some(entry);
                }
            }
        }
        None
    }

    /// Returns the entry that `is` accepts, which `make` creates if it is missing; `None` if it creates none, for a new entry
    /// in a table that has `bound` ones, or if too many entries have similar hashes.
    pub(super) fn get_or_insert(
        &self,
        hash: u64,
        bound: usize,
        is: impl Fn(&T) -> bool,
        make: impl FnOnce() -> Option<T>,
    ) -> Option<&T> {
        // Read before the search: the last entries may come meanwhile, and this one may be among them.
        let is_full = self.len() >= bound;
        if let Some(entry) = self.get(hash, &is) {
            return Some(entry);
        }
        if is_full {
            return None;
        }
        // Before the lock, because it may run code of the application.
        let new = make()?;
        // Poisoning is ignored: no user code runs under the lock, and the table is consistent after each step.
        let _growing = self.growing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = self.get(hash, is) {
            return Some(entry);
        }
        if self.len() >= bound {
            return None;
        }
        let slot = self.levels.iter().zip(sizes(bound)).find_map(|(level, size)| {
            let level = level.get_or_init(|| (0..size).map(|_| OnceLock::new()).collect());
            probes(level, hash).find(|slot| slot.get().is_none())
        })?;
        let entry = slot.get_or_init(|| (hash, new));
        // After the entry, so that a full table has all of them.
        self.len.fetch_add(1, Ordering::Release);
        Some(&entry.1)
    }
}

/// Returns the sizes of the levels for a number of entries. The last one has room for all of them eight times, so that only
/// entries with similar hashes find no free slot.
fn sizes(bound: usize) -> impl Iterator<Item = usize> {
    let sizes = (0..LEVELS).map(|number| FIRST_LEVEL << (2 * number));
    sizes.take_while(move |size| *size == FIRST_LEVEL || size / 32 < bound)
}

/// Returns the slots of a level that a hash may use.
#[inline]
fn probes<T>(level: &[Slot<T>], hash: u64) -> impl Iterator<Item = &Slot<T>> {
    // The length is a power of two.
    let mask = level.len() - 1;
    (0..PROBES).filter_map(move |further| level.get((hash as usize).wrapping_add(further) & mask))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(table: &OnceTable<u64>, hash: u64, entry: u64, bound: usize) -> Option<u64> {
        table.get_or_insert(hash, bound, |other| *other == entry, || Some(entry)).copied()
    }

    #[test]
    fn entries_with_the_same_hash_are_distinct_and_take_no_endless_memory() {
        let table = OnceTable::new();
        let kept: Vec<_> = (0..100).filter(|entry| insert(&table, 7, *entry, 1024).is_some()).collect();
        // Four in each of the levels of 64, 256, 1,024, 4,096 and 16,384 slots.
        assert_eq!(kept, Vec::from_iter(0..20));
        assert_eq!(table.len(), 20);
        for entry in 0..100 {
            assert_eq!(table.get(7, |other: &u64| *other == entry), (entry < 20).then_some(&entry));
        }
        assert_eq!(table.levels.iter().filter(|level| level.get().is_some()).count(), 5);
    }

    #[test]
    fn the_last_level_has_room_for_all_entries() {
        for (bound, last) in [(1, 64), (2, 64), (64, 1024), (1024, 16_384), (100_000, 1 << 20)] {
            assert_eq!(sizes(bound).last(), Some(last), "{bound}");
            assert!(last >= 8 * bound);
        }
    }

    #[test]
    fn threads_that_insert_the_same_entries_agree() {
        let table = OnceTable::new();
        let hash = |entry: u64| entry.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        std::thread::scope(|scope| {
            for thread in 0..4_u64 {
                let table = &table;
                scope.spawn(move || {
                    for entry in 0..2000 {
                        let entry = (entry + 500 * thread) % 2000;
                        assert_eq!(insert(table, hash(entry), entry, 2000), Some(entry));
                    }
                });
            }
        });
        assert_eq!(table.len(), 2000);
        for entry in 0..2000 {
            assert_eq!(table.get(hash(entry), |other: &u64| *other == entry), Some(&entry));
        }
        assert_eq!(insert(&table, 1, 5000, 2000), None);
    }
}
