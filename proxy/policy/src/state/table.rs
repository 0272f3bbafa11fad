//! A table of bounded size whose entries go when they are too old to count.

use std::collections::HashMap;
use std::hash::Hash;

/// At most so often a full table is searched for entries that are too old.
const SWEEP_MS: u64 = 1_000;

/// A table.
#[derive(Debug)]
pub(super) struct Table<K, V> {
    entries: HashMap<K, Entry<V>>,
    entries_max: usize,
    swept_ms: Option<u64>,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    until_ms: u64,
}

impl<K: Hash + Eq, V> Table<K, V> {
    pub(super) fn new(entries_max: usize) -> Table<K, V> {
        Table { entries: HashMap::new(), entries_max, swept_ms: None }
    }

    /// What is known, if it still counts.
    pub(super) fn get(&self, key: &K, now_ms: u64) -> Option<&V> {
        self.entries.get(key).filter(|entry| now_ms < entry.until_ms).map(|entry| &entry.value)
    }

    /// Whether there is room for this key.
    pub(super) fn has_room(&self, key: &K, now_ms: u64) -> bool {
        self.entries.len() < self.entries_max
            || self.entries.contains_key(key)
            || self.may_sweep(now_ms) && self.entries.values().any(|entry| entry.until_ms <= now_ms)
    }

    /// Sets what is known until then; false where there is no room.
    pub(super) fn set(&mut self, key: K, value: V, until_ms: u64, now_ms: u64) -> bool {
        if self.entries.len() >= self.entries_max && !self.entries.contains_key(&key) {
            if self.may_sweep(now_ms) {
                self.entries.retain(|_, entry| now_ms < entry.until_ms);
                self.swept_ms = Some(now_ms);
            }
            if self.entries.len() >= self.entries_max {
                return false;
            }
        }
        self.entries.insert(key, Entry { value, until_ms });
        true
    }

    fn may_sweep(&self, now_ms: u64) -> bool {
        self.swept_ms.is_none_or(|swept| now_ms >= swept.saturating_add(SWEEP_MS))
    }
}
