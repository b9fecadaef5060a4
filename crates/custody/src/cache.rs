//! Sealed entries in memory, so that reading a hot one costs one decryption and no question to the store.
//!
//! What is cached is what is stored: no plaintext lives longer than whoever asked for it. The writer replaces what it has
//! changed once that is durable; a reader that asked the store before must not put an older state back, which the guard
//! it holds meanwhile prevents: the writer's change takes the guard's place away.

use std::sync::Arc;

use quick_cache::sync::{Cache as QuickCache, DefaultLifecycle, PlaceholderGuard};
use quick_cache::{DefaultHashBuilder, Weighter};

use crate::record::Record;

/// What the cache may take: some 200,000 entries of an ordinary size, which is more than one installation reads in a
/// day, and little beside what the engines on the same machine use.
const BYTES: u64 = 64 << 20;

/// What an ordinary entry weighs: a guess that only sizes the tables at the start.
const ORDINARY_ENTRY: u64 = 512;

/// What a cached entry takes beside its path and its ciphertext: the record, the pointers and the table's places.
const OVERHEAD: u64 = 192;

/// An entry, or that there is none at its path.
pub(crate) type Known = Option<Arc<Record>>;

/// Says that this reader asks the store, and others who want the same entry wait for it.
pub(crate) type Asking<'a> =
    PlaceholderGuard<'a, Arc<str>, Known, Weight, DefaultHashBuilder, DefaultLifecycle<Arc<str>, Known>>;

pub(crate) struct Cache {
    entries: QuickCache<Arc<str>, Known, Weight>,
}

#[derive(Clone)]
pub(crate) struct Weight;

// === impl Cache ===

impl Cache {
    pub fn new() -> Self {
        Self { entries: QuickCache::with_weighter((BYTES / ORDINARY_ENTRY) as usize, BYTES, Weight) }
    }

    /// What is known of a path, without counting as a use of it.
    pub fn peek(&self, path: &str) -> Option<Known> {
        self.entries.peek(path)
    }

    /// What is known of a path.
    pub fn get(&self, path: &str) -> Option<Known> {
        self.entries.get(path)
    }

    /// What is known of a path, or else the place to put it.
    pub async fn get_or_ask(&self, path: &Arc<str>) -> Result<Known, Asking<'_>> {
        self.entries.get_value_or_guard_async(path).await
    }

    /// Puts what the writer has just made durable.
    pub fn publish(&self, path: &str, known: Known) {
        // Taken away first: a value too heavy for the cache would leave the place of a reader that asks right now.
        self.entries.remove(path);
        self.entries.insert(path.into(), known);
    }

    /// Forgets everything, also what readers are asking for right now.
    pub fn clear(&self) {
        self.entries.clear();
    }
}

impl Weighter<Arc<str>, Known> for Weight {
    fn weight(&self, path: &Arc<str>, known: &Known) -> u64 {
        let ciphertext = known.as_ref().map_or(0, |record| record.ciphertext.capacity());
        OVERHEAD + (path.len() + ciphertext) as u64
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{BYTES, Cache};
    use crate::aead::MARK_LENGTH;
    use crate::record::{Imprint, Record};

    fn record(revision: u64, length: usize) -> Option<Arc<Record>> {
        let imprint = Imprint { revision, key_version: 1, mark: [0; MARK_LENGTH] };
        Some(Arc::new(Record { imprint, ciphertext: vec![0; length] }))
    }

    fn revision(cache: &Cache, path: &str) -> Option<u64> {
        cache.peek(path).flatten().map(|record| record.imprint.revision)
    }

    #[tokio::test]
    async fn a_reader_does_not_put_an_older_state_back() {
        // The new state may be too heavy to be kept at all.
        for length in [10, BYTES as usize] {
            let cache = Cache::new();
            let asking = cache.get_or_ask(&"a".into()).await.err().unwrap();
            cache.publish("a", record(2, length));
            assert!(asking.insert(record(1, 10)).is_err());
            assert_ne!(revision(&cache, "a"), Some(1));

            let asking = cache.get_or_ask(&"b".into()).await.err().unwrap();
            cache.clear();
            assert!(asking.insert(record(1, 10)).is_err());
            assert_eq!(revision(&cache, "b"), None);
        }
    }

    #[tokio::test]
    async fn what_is_known_is_bounded() {
        let cache = Cache::new();
        for number in 0..1000 {
            cache.publish(&number.to_string(), record(1, 1 << 20));
        }
        assert!(cache.entries.weight() <= BYTES);
        cache.publish("none", None);
        assert!(matches!(cache.get("none"), Some(None)));
    }
}
