//! Bounded caches for values that are prepared once and used by many operations: names, attribute sets, series.
//!
//! No entry is ever evicted. A full cache keeps no new values, and callers prepare those again for each operation, so
//! that neither untrusted input nor a faulty caller makes a cache grow without bound.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use foldhash::fast::RandomState;

type Slot<K, V> = OnceLock<Box<(K, V)>>;

/// Limit of the entries of a [`SmallOnceMap`] beyond its slots.
const BEYOND: usize = 1024;

/// A map with small keys, for few entries. A lookup of the first `N` is a linear scan without a lock; the next 1,024 are in a
/// hash map behind a lock.
pub struct SmallOnceMap<K, V, const N: usize> {
    slots: [Slot<K, V>; N],
    beyond: RwLock<HashMap<K, Arc<V>, RandomState>>,
}

impl<K: Copy + Eq + Hash, V, const N: usize> SmallOnceMap<K, V, N> {
    /// Creates an empty map.
    #[must_use]
    pub fn new() -> Self {
        Self { slots: [const { OnceLock::new() }; N], beyond: RwLock::default() }
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
        read(&self.beyond(key, make))
    }

    #[inline(never)]
    fn beyond(&self, key: K, make: impl Fn() -> V) -> Arc<V> {
        // Poisoning is ignored: no user code runs under the lock.
        let values = self.beyond.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = values.get(&key) {
            return Arc::clone(value);
        }
        let is_full = values.len() >= BEYOND;
        drop(values);
        let value = Arc::new(make());
        if is_full {
            return value;
        }
        let mut values = self.beyond.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(values.entry(key).or_insert(value))
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
        let beyond = self.beyond.read().unwrap_or_else(PoisonError::into_inner).len();
        f.debug_struct("SmallOnceMap").field("used", &(used + beyond)).field("of", &(N + BEYOND)).finish()
    }
}

/// A map from names to shared values, with a bound on its number of entries. A lookup of the first four is a linear scan
/// without a lock.
pub struct BoundedCache<V> {
    first: [OnceLock<(Box<str>, Arc<V>)>; FIRST],
    values: RwLock<HashMap<Box<str>, Arc<V>, RandomState>>,
    bound: usize,
}

/// The entries of a [`BoundedCache`] outside of its lock. Most clients use few names.
const FIRST: usize = 4;

impl<V> BoundedCache<V> {
    /// Creates an empty map that holds at most `bound` values.
    #[must_use]
    pub fn new(bound: usize) -> Self {
        Self { first: [const { OnceLock::new() }; FIRST], values: RwLock::default(), bound }
    }

    /// Returns the value of `name`, which `make` creates if it is missing, or `None` for a new name in a full map.
    pub fn get_or_insert(&self, name: &str, make: impl FnOnce() -> V) -> Option<Arc<V>> {
        self.get_or_insert_opt(name, || Some(make()))
    }

    /// Like [`get_or_insert`](Self::get_or_insert), but keeps nothing and returns `None` if `make` returns `None`.
    #[inline]
    pub fn get_or_insert_opt(&self, name: &str, make: impl FnOnce() -> Option<V>) -> Option<Arc<V>> {
        let first = self.first.iter().map_while(OnceLock::get).find(|(other, _)| **other == *name);
        match first {
            Some((_, value)) => Some(Arc::clone(value)),
            None => self.look_up(name, make),
        }
    }

    /// Reads the map, which has all values, the first ones as well.
    #[inline(never)]
    fn look_up(&self, name: &str, make: impl FnOnce() -> Option<V>) -> Option<Arc<V>> {
        // Poisoning is ignored: no user code runs under the lock, and the map is consistent after each step.
        let values = self.values.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = values.get(name) {
            return Some(Arc::clone(value));
        }
        if values.len() >= self.bound {
            return None;
        }
        drop(values);
        let value = Arc::new(make()?);
        let mut values = self.values.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(first) = values.get(name) {
            return Some(Arc::clone(first));
        }
        if values.len() >= self.bound {
            return None;
        }
        if let Some(slot) = self.first.get(values.len()) {
            // Free, because the map grows under the lock and never shrinks.
            let _ = slot.set((name.into(), Arc::clone(&value)));
        }
        values.insert(name.into(), Arc::clone(&value));
        Some(value)
    }
}

impl<V> fmt::Debug for BoundedCache<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let used = self.values.read().unwrap_or_else(PoisonError::into_inner).len();
        f.debug_struct("BoundedCache").field("used", &used).field("of", &self.bound).finish()
    }
}

/// Limit of names that [`intern`] keeps.
const NAMES: usize = 4096;

/// Returns a name of low cardinality as a `'static` string where the limits allow it (4,096 names of up to 256
/// bytes), otherwise as an owned copy.
///
/// Span names are `Cow<'static, str>`, so that an owned name costs a copy per span. BoundedCache names are never freed.
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
        assert!(Arc::ptr_eq(&first, &interned.get_or_insert("a", || 2).unwrap()));
        assert!(interned.get_or_insert("b", || 3).is_some());
        assert!(interned.get_or_insert("c", || 4).is_none(), "past the bound nothing is kept");
        assert_eq!(interned.get_or_insert("b", || 5).as_deref(), Some(&3));
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
