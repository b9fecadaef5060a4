//! Records of objects in memory, so that finding a hot one asks nobody.
//!
//! The writer replaces what it has changed once that is durable. A reader that asked the index before must not put an
//! older record back, which the guard it holds meanwhile prevents: the writer's change takes the guard's place away.

use std::sync::Arc;

use mainstay_bucket::ObjectKey;
use quick_cache::sync::{Cache as QuickCache, DefaultLifecycle, PlaceholderGuard};
use quick_cache::{DefaultHashBuilder, Weighter};

use crate::account::BucketId;
use crate::version::Version;

/// What an ordinary record weighs: a guess that only sizes the tables at the start.
const ORDINARY_RECORD: u64 = 512;

/// What a record takes beside its texts: the structure, the pointers and the table's places.
const OVERHEAD: u64 = 448;

/// The newest version of a key, or that there is none that is visible.
pub(crate) type Known = Option<Arc<Version>>;

pub(crate) type Place = (BucketId, ObjectKey);

/// Says that this reader asks the index, and others who want the same record wait for it.
pub(crate) type Asking<'a> =
    PlaceholderGuard<'a, Place, Known, Weight, DefaultHashBuilder, DefaultLifecycle<Place, Known>>;

pub(crate) struct Cache {
    records: QuickCache<Place, Known, Weight>,
}

#[derive(Clone)]
pub(crate) struct Weight;

// === impl Cache ===

impl Cache {
    pub fn new(bytes: u64) -> Self {
        Self { records: QuickCache::with_weighter((bytes / ORDINARY_RECORD) as usize, bytes, Weight) }
    }

    /// What is known of a key, without counting as a use of it.
    pub fn peek(&self, place: &Place) -> Option<Known> {
        self.records.peek(place)
    }

    /// What is known of a key, or else the place to put it.
    pub async fn get_or_ask(&self, place: &Place) -> Result<Known, Asking<'_>> {
        match self.records.get(place) {
            Some(known) => Ok(known),
            None => self.records.get_value_or_guard_async(place).await,
        }
    }

    /// Puts what the writer has just made durable.
    pub fn publish(&self, place: Place, known: Known) {
        // Taken away first: a record too heavy for the cache would leave the place of a reader that asks right now.
        self.records.remove(&place);
        self.records.insert(place, known);
    }

    /// Forgets everything, also what readers are asking for right now.
    pub fn clear(&self) {
        self.records.clear();
    }
}

impl Weighter<Place, Known> for Weight {
    fn weight(&self, place: &Place, known: &Known) -> u64 {
        let texts = known.as_ref().map_or(0, |version| {
            let metadata = version.attributes.metadata.user.iter().map(|(name, value)| name.len() + value.len() + 64);
            let tags = version.attributes.tags.iter().map(|(name, value)| name.len() + value.len() + 64);
            metadata.chain(tags).sum()
        });
        OVERHEAD + (place.1.as_str().len() + texts) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::Cache;
    use crate::account::BucketId;

    #[tokio::test]
    async fn a_reader_does_not_put_an_older_state_back() {
        let cache = Cache::new(1 << 20);
        let place = (BucketId(1), "a".parse().unwrap());
        let asking = cache.get_or_ask(&place).await.err().unwrap();
        cache.publish(place.clone(), None);
        assert!(asking.insert(None).is_err());
        cache.clear();
        let asking = cache.get_or_ask(&place).await.err().unwrap();
        cache.clear();
        assert!(asking.insert(None).is_err());
        assert!(cache.peek(&place).is_none());
    }
}
