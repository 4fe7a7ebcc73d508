//! A small cache of what was dear to make, keyed by position, bounded by bytes; what was used longest ago goes first.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes that an entry takes besides its value.
const ENTRY_BYTES: usize = 128;

/// See the module. Shared by all threads; the lock is held for a look-up, never while a value is made.
#[derive(Debug)]
pub(crate) struct Cache<V> {
    bytes_max: usize,
    held: Mutex<Held<V>>,
}

#[derive(Debug)]
struct Held<V> {
    entries: HashMap<u64, Entry<V>>,
    /// When each was used last, and which it is.
    used: BTreeMap<u64, u64>,
    uses: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Entry<V> {
    value: Arc<V>,
    bytes: usize,
    used: u64,
}

impl<V> Cache<V> {
    /// Holds values of `bytes_max` bytes together. The newest one is held whatever it takes.
    pub(crate) fn new(bytes_max: usize) -> Self {
        let held = Held { entries: HashMap::new(), used: BTreeMap::new(), uses: 0, bytes: 0 };
        Self { bytes_max, held: Mutex::new(held) }
    }

    pub(crate) fn find(&self, position: u64) -> Option<Arc<V>> {
        let mut held = self.lock();
        let held = &mut *held;
        let entry = held.entries.get_mut(&position)?;
        held.uses += 1;
        held.used.remove(&entry.used);
        held.used.insert(held.uses, position);
        entry.used = held.uses;
        Some(Arc::clone(&entry.value))
    }

    /// Enters a value; `bytes` is what it takes.
    pub(crate) fn enter(&self, position: u64, value: Arc<V>, bytes: usize) {
        let mut held = self.lock();
        held.leave(position);
        held.uses += 1;
        let used = held.uses;
        let bytes = bytes + ENTRY_BYTES;
        held.bytes += bytes;
        held.used.insert(used, position);
        held.entries.insert(position, Entry { value, bytes, used });
        while held.bytes > self.bytes_max && held.entries.len() > 1 {
            let Some((_, &oldest)) = held.used.first_key_value() else { break };
            held.leave(oldest);
        }
    }

    /// Bytes that are held.
    pub(crate) fn bytes(&self) -> usize {
        self.lock().bytes
    }

    fn lock(&self) -> MutexGuard<'_, Held<V>> {
        // A panic elsewhere leaves a cache that is at worst short of an entry.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V> Held<V> {
    fn leave(&mut self, position: u64) {
        if let Some(entry) = self.entries.remove(&position) {
            self.bytes -= entry.bytes;
            self.used.remove(&entry.used);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let cache = Cache::new(3 * (ENTRY_BYTES + 10));
        for position in 0..3 {
            cache.enter(position, Arc::new(position), 10);
        }
        assert_eq!(cache.bytes(), 3 * (ENTRY_BYTES + 10), "full to the last byte");
        assert_eq!(cache.find(0).as_deref(), Some(&0));
        cache.enter(3, Arc::new(3), 10);
        assert_eq!((cache.find(1), cache.find(0).as_deref().copied()), (None, Some(0)));
        cache.enter(0, Arc::new(7), 10);
        assert_eq!(cache.find(0).as_deref(), Some(&7), "entered anew");
        // One that is larger than the bound is alone.
        cache.enter(9, Arc::new(9), 10_000);
        assert_eq!((cache.find(9).as_deref(), cache.find(0)), (Some(&9), None));
        assert_eq!(cache.bytes(), 10_000 + ENTRY_BYTES);
    }
}
