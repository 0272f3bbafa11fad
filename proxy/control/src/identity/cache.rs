//! What was found of a credential, by the digest of its bytes, for a while.
//!
//! Credentials themselves are not kept. The digest is keyed at random, so that what stands in memory can't be held against
//! lists of tokens. The oldest entry goes when there are too many.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex};

use crate::reload::lock;

/// The digest of a credential.
pub(super) type Digest = [u8; 32];

/// A bounded cache.
pub(super) struct Cache<V> {
    key: [u8; 32],
    most: usize,
    entries: Mutex<Entries<V>>,
}

struct Entries<V> {
    by_digest: HashMap<Digest, Arc<V>>,
    /// In the order in which they came; one that was forgotten may still stand here.
    order: VecDeque<Digest>,
}

impl<V> fmt::Debug for Cache<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("entries", &self.len())
            .field("most", &self.most)
            .finish_non_exhaustive()
    }
}

impl<V> Cache<V> {
    /// Of at most so many entries. `key` is random.
    pub(super) fn new(most: usize, key: [u8; 32]) -> Cache<V> {
        let entries = Mutex::new(Entries { by_digest: HashMap::new(), order: VecDeque::new() });
        Cache { key, most, entries }
    }

    pub(super) fn digest(&self, credential: &str) -> Digest {
        blake3::keyed_hash(&self.key, credential.as_bytes()).into()
    }

    pub(super) fn find(&self, digest: &Digest) -> Option<Arc<V>> {
        lock(&self.entries).by_digest.get(digest).cloned()
    }

    pub(super) fn put(&self, digest: Digest, value: Arc<V>) {
        let mut entries = lock(&self.entries);
        if entries.by_digest.insert(digest, value).is_none() {
            entries.order.push_back(digest);
        }
        while entries.order.len() > self.most {
            if let Some(oldest) = entries.order.pop_front() {
                entries.by_digest.remove(&oldest);
            }
        }
    }

    pub(super) fn forget(&self, digest: &Digest) {
        lock(&self.entries).by_digest.remove(digest);
    }

    pub(super) fn len(&self) -> usize {
        lock(&self.entries).by_digest.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes() {
        let cache = Cache::new(2, [7; 32]);
        let [a, b, c] = ["a", "b", "c"].map(|text| cache.digest(text));
        cache.put(a, Arc::new(1));
        cache.put(b, Arc::new(2));
        cache.put(a, Arc::new(3));
        assert_eq!((cache.len(), cache.find(&a).as_deref()), (2, Some(&3)));
        cache.put(c, Arc::new(4));
        assert_eq!((cache.len(), cache.find(&a), cache.find(&c).as_deref()), (2, None, Some(&4)));
        cache.forget(&b);
        assert_eq!((cache.len(), cache.find(&b)), (1, None));
        for n in 0..100 {
            let digest = cache.digest(&n.to_string());
            cache.put(digest, Arc::new(n));
            cache.forget(&digest);
        }
        assert!(cache.len() <= 2 && lock(&cache.entries).order.len() <= 2);
    }

    #[test]
    fn digests_are_keyed() {
        assert_ne!(Cache::<()>::new(1, [1; 32]).digest("a"), Cache::<()>::new(1, [2; 32]).digest("a"));
    }
}
