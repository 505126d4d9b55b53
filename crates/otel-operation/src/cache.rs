//! Bounded caches for values that are prepared once and used by many operations: names, attribute sets, series.
//!
//! No entry is ever evicted. A full cache keeps no new values, and callers prepare those again for each operation, so
//! that neither untrusted input nor a faulty caller makes a cache grow without bound.

mod once_table;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::hash::{BuildHasher as _, Hash};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use foldhash::{fast, quality};

use self::once_table::OnceTable;

type Slot<K, V> = OnceLock<Box<(K, V)>>;

/// Limit of the entries of a [`SmallOnceMap`] beyond its slots.
const BEYOND: usize = 1024;

/// A map with small keys, for few entries. A lookup of the first `N` is a linear scan; the next 1,024 are in a hash table. No
/// lookup takes a lock.
pub struct SmallOnceMap<K, V, const N: usize> {
    slots: [Slot<K, V>; N],
    beyond: OnceLock<Box<Beyond<K, V>>>,
}

/// The entries of a [`SmallOnceMap`] beyond its slots; boxed, because most maps have none.
struct Beyond<K, V> {
    table: OnceTable<(K, V)>,
    /// Of quality, because the fast one gives similar low bits to consecutive numbers under some seeds.
    hasher: quality::RandomState,
}

impl<K: Copy + Eq + Hash, V, const N: usize> SmallOnceMap<K, V, N> {
    /// Creates an empty map.
    #[must_use]
    pub fn new() -> Self {
        Self { slots: [const { OnceLock::new() }; N], beyond: OnceLock::new() }
    }

    /// Calls `read` with the value of `key`, which `make` creates if the map does not hold it.
    ///
    /// `make` may run on several threads at once for the same new key, and runs on every call for a key that a full
    /// map does not hold.
    #[inline]
    pub fn get_or_init_with<T>(&self, key: K, make: impl Fn() -> V, read: impl FnOnce(&V) -> T) -> T {
        for slot in &self.slots {
            // A concurrent call may fill an empty slot first, with this key or with another.
            let entry = slot.get_or_init(|| Box::new((key, make())));
            if entry.0 == key {
                return read(&entry.1);
            }
        }
        match self.beyond(key, &make) {
            Some(value) => read(value),
            None => read(&make()),
        }
    }

    #[inline(never)]
    fn beyond(&self, key: K, make: impl Fn() -> V) -> Option<&V> {
        let Beyond { table, hasher } = &**self.beyond.get_or_init(|| {
            Box::new(Beyond { table: OnceTable::new(), hasher: quality::RandomState::default() })
        });
        let hash = hasher.hash_one(key);
        let is = |entry: &(K, V)| entry.0 == key;
        let entry = table.get_or_insert(hash, BEYOND, is, || Some((key, make())));
        entry.map(|entry| &entry.1)
    }
}

impl<K: Copy + Eq + Hash, V, const N: usize> Default for SmallOnceMap<K, V, N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, V, const N: usize> fmt::Debug for SmallOnceMap<K, V, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let used = self.slots.iter().filter(|slot| slot.get().is_some()).count();
        let used = used + self.beyond.get().map_or(0, |beyond| beyond.table.len());
        f.debug_struct("SmallOnceMap").field("used", &used).field("of", &(N + BEYOND)).finish()
    }
}

/// A map from names to shared values, with a bound on its number of entries. A lookup of the first four is a linear scan, that
/// of further ones takes a hash; none takes a lock.
pub struct BoundedCache<V> {
    first: [OnceLock<(Box<str>, Arc<V>)>; FIRST],
    table: OnceTable<(Box<str>, Arc<V>)>,
    hasher: fast::RandomState,
    bound: usize,
}

/// The entries of a [`BoundedCache`] that are found without a hash. Most clients use few names.
const FIRST: usize = 4;

impl<V> BoundedCache<V> {
    /// Creates an empty map that holds at most `bound` values.
    #[must_use]
    pub fn new(bound: usize) -> Self {
        Self {
            first: [const { OnceLock::new() }; FIRST],
            table: OnceTable::new(),
            hasher: fast::RandomState::default(),
            bound,
        }
    }

    /// Returns the value of `name`, if the map has it.
    #[inline]
    pub fn get(&self, name: &str) -> Option<&Arc<V>> {
        self.first(name).or_else(|| {
            let entry = self.table.get(self.hasher.hash_one(name), |entry| *entry.0 == *name);
            entry.map(|(_, value)| value)
        })
    }

    /// Returns the value of `name`, which `make` creates if it is missing, or `None` for a new name in a full map.
    pub fn get_or_insert(&self, name: &str, make: impl FnOnce() -> V) -> Option<&Arc<V>> {
        self.get_or_insert_opt(name, || Some(make()))
    }

    /// Like [`get_or_insert`](Self::get_or_insert), but keeps nothing and returns `None` if `make` returns `None`.
    #[inline]
    pub fn get_or_insert_opt(&self, name: &str, make: impl FnOnce() -> Option<V>) -> Option<&Arc<V>> {
        self.first(name).or_else(|| self.look_up(name, make))
    }

    #[inline]
    fn first(&self, name: &str) -> Option<&Arc<V>> {
        let mut first = self.first.iter().map_while(OnceLock::get);
        first.find(|(other, _)| **other == *name).map(|(_, value)| value)
    }

    /// Reads the table, which has all values, the first ones as well.
    #[inline(never)]
    fn look_up(&self, name: &str, make: impl FnOnce() -> Option<V>) -> Option<&Arc<V>> {
        let hash = self.hasher.hash_one(name);
        let is = |entry: &(Box<str>, Arc<V>)| *entry.0 == *name;
        let entry = || Some((name.into(), Arc::new(make()?)));
        let (_, value) = self.table.get_or_insert(hash, self.bound, is, entry)?;
        if let Some(free) = self.first.iter().find(|slot| slot.get().is_none()) {
            // If another thread is faster, this name is found by its hash.
            let _ = free.set((name.into(), Arc::clone(value)));
        }
        Some(value)
    }
}

impl<V> fmt::Debug for BoundedCache<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (used, of) = (self.table.len(), self.bound);
        f.debug_struct("BoundedCache").field("used", &used).field("of", &of).finish()
    }
}

/// Limit of names that [`intern`] keeps.
const NAMES: usize = 4096;

/// Returns a name of low cardinality as a `'static` string where the limits allow it (4,096 names of up to 256
/// bytes), otherwise as an owned copy.
///
/// Span names are `Cow<'static, str>`, so that an owned name costs a copy per span. Interned names are never freed.
#[must_use]
pub fn intern(name: &str) -> Cow<'static, str> {
    static INTERNED: RwLock<BTreeSet<&'static str>> = RwLock::new(BTreeSet::new());
    if let Some(known) = INTERNED.read().unwrap_or_else(PoisonError::into_inner).get(name) {
        return Cow::Borrowed(known);
    }
    let mut names = INTERNED.write().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(name) {
        return Cow::Borrowed(known);
    }
    if names.len() >= NAMES || name.len() > 256 {
        return Cow::Owned(name.to_owned());
    }
    let kept: &'static str = Box::leak(name.into());
    names.insert(kept);
    Cow::Borrowed(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_entry_is_made_once_up_to_the_bound_and_served_beyond_it() {
        let slots = SmallOnceMap::<u32, String, 2>::new();
        let bound = 2 + BEYOND as u32;
        for round in 0..2 {
            for key in 0..bound + 3 {
                let made = std::cell::Cell::new(false);
                let value = slots.get_or_init_with(
                    key,
                    || {
                        made.set(true);
                        key.to_string()
                    },
                    String::clone,
                );
                assert_eq!(value, key.to_string());
                assert_eq!(made.get(), round == 0 || key >= bound, "round {round}, key {key}");
            }
        }
        assert_eq!(format!("{slots:?}"), "SmallOnceMap { used: 1026, of: 1026 }");
    }

    #[test]
    fn interned_values_are_shared_up_to_the_bound() {
        let interned = BoundedCache::new(2);
        let first = interned.get_or_insert("a", || 1).unwrap();
        assert!(Arc::ptr_eq(first, interned.get_or_insert("a", || 2).unwrap()));
        assert!(interned.get_or_insert("b", || 3).is_some());
        assert!(interned.get_or_insert("c", || 4).is_none(), "past the bound nothing is kept");
        assert_eq!(interned.get_or_insert("b", || 5).map(|value| **value), Some(3));
        assert_eq!(format!("{interned:?}"), "BoundedCache { used: 2, of: 2 }");
    }

    #[test]
    fn names_are_kept_once() {
        let first = intern("GET /interned");
        let again = intern(&String::from("GET /interned"));
        assert!(matches!((first, again), (Cow::Borrowed(a), Cow::Borrowed(b)) if std::ptr::eq(a, b)));
        assert!(matches!(intern(&"x".repeat(257)), Cow::Owned(_)), "a name that long is not kept");
    }

    #[test]
    fn slots_agree_between_threads() {
        let slots = SmallOnceMap::<usize, usize, 4>::new();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for i in 0..800 {
                        assert_eq!(slots.get_or_init_with(i % 8, || i % 8, |value| *value), i % 8);
                    }
                });
            }
        });
        assert_eq!(format!("{slots:?}"), "SmallOnceMap { used: 8, of: 1028 }");
    }
}
