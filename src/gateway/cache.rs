//! A small cache that is bounded by count and by bytes, and lets go of what was not used longest.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The cache. A value larger than its bytes is not taken in.
pub(super) struct Cache<K, V> {
    most: usize,
    most_bytes: usize,
    held: Mutex<Held<K, V>>,
}

struct Held<K, V> {
    entries: HashMap<K, Entry<V>>,
    /// By last use, the oldest first.
    order: BTreeMap<u64, K>,
    uses: u64,
    bytes: usize,
}

struct Entry<V> {
    value: V,
    bytes: usize,
    used: u64,
}

impl<K: Clone + Eq + Hash, V: Clone> Cache<K, V> {
    pub(super) fn new(most: usize, most_bytes: usize) -> Self {
        Self {
            most,
            most_bytes,
            held: Mutex::new(Held {
                entries: HashMap::new(),
                order: BTreeMap::new(),
                uses: 0,
                bytes: 0,
            }),
        }
    }

    /// The value of a key, which counts as a use.
    pub(super) fn get<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let mut held = self.lock();
        let held = &mut *held;
        let entry = held.entries.get_mut(key)?;
        held.uses += 1;
        if let Some(key) = held.order.remove(&entry.used) {
            held.order.insert(held.uses, key);
        }
        entry.used = held.uses;
        Some(entry.value.clone())
    }

    /// Remembers a value of so many bytes in place of the one before.
    pub(super) fn put(&self, key: K, value: V, bytes: usize) {
        let mut held = self.lock();
        held.remove(&key);
        if bytes > self.most_bytes || self.most == 0 {
            return;
        }
        while held.entries.len() >= self.most || held.bytes + bytes > self.most_bytes {
            let Some(oldest) = held.order.values().next().cloned() else {
                return;
            };
            held.remove(&oldest);
        }
        held.uses += 1;
        let used = held.uses;
        held.bytes += bytes;
        held.order.insert(used, key.clone());
        held.entries.insert(key, Entry { value, bytes, used });
    }

    /// How many values are held, and their bytes.
    pub(super) fn size(&self) -> (usize, usize) {
        let held = self.lock();
        (held.entries.len(), held.bytes)
    }

    fn lock(&self) -> MutexGuard<'_, Held<K, V>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Hash, V> Held<K, V> {
    fn remove(&mut self, key: &K) {
        if let Some(entry) = self.entries.remove(key) {
            self.order.remove(&entry.used);
            self.bytes -= entry.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(cache: &Cache<&'static str, u32>, keys: &[&'static str]) -> Vec<&'static str> {
        let mut there: Vec<_> = keys.to_vec();
        there.retain(|key| cache.lock().entries.contains_key(key));
        there
    }

    #[test]
    fn what_was_not_used_longest_goes_first() {
        let cache = Cache::new(2, 100);
        cache.put("a", 1, 10);
        cache.put("b", 2, 10);
        assert_eq!(cache.get("a"), Some(1));
        cache.put("c", 3, 10);
        assert_eq!(held(&cache, &["a", "b", "c"]), ["a", "c"]);
        assert_eq!(cache.size(), (2, 20));
    }

    #[test]
    fn bytes_are_bounded_and_what_is_too_large_is_not_taken_in() {
        let cache = Cache::new(10, 100);
        for (key, bytes) in [("a", 40), ("b", 40), ("c", 60)] {
            cache.put(key, 0, bytes);
        }
        assert_eq!(held(&cache, &["a", "b", "c"]), ["b", "c"]);
        assert_eq!(cache.size(), (2, 100));
        cache.put("d", 0, 101);
        assert_eq!(held(&cache, &["b", "c", "d"]), ["b", "c"]);
    }

    #[test]
    fn a_value_takes_the_place_of_the_one_before() {
        let cache = Cache::new(2, 100);
        cache.put("a", 1, 90);
        cache.put("a", 2, 20);
        assert_eq!((cache.get("a"), cache.size()), (Some(2), (1, 20)));
        cache.put("a", 3, 101);
        assert_eq!((cache.get("a"), cache.size()), (None, (0, 0)));
    }

    #[test]
    fn a_cache_of_nothing_holds_nothing() {
        let cache = Cache::new(0, 100);
        cache.put("a", 1, 1);
        assert_eq!((cache.get("a"), cache.size()), (None, (0, 0)));
    }
}
