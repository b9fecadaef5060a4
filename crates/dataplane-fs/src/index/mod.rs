//! What the log leads to: each content's entry.
//!
//! The newest changes are in memory; a checkpoint brings them to the base on disk, together with the place in the log
//! up to which they follow from it. Behind that place the log is read again when the store is opened.

mod base;
mod memory;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use mainstay_dataplane::{Address, KeyId, Owner, Stored, Trouble};
use quick_cache::sync::Cache;

pub(crate) use base::{Base, BaseError};
pub(crate) use memory::{Change, Checkpoint, Memory, Position};

use crate::entry::{Entry, FileRef};
use crate::ledger::Ledger;
use crate::pack::Spot;

/// Rows that are looked at under one lock while an inventory is made; the writer waits meanwhile.
const AT_ONCE: usize = 1000;

/// The index. Whatever was published is found from then on.
pub(crate) struct Index {
    memory: RwLock<Memory>,
    base: Base,
    /// Held while a checkpoint is written: up to where the log is in the base, as far as this process has written it.
    checkpointed: Mutex<Option<Position>>,
    places: Cache<Address, Located>,
    /// Counts changes of entries, so that nobody remembers a place that was given up while it was looked up.
    generation: AtomicU64,
}

/// Where a content lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Located {
    pub size: u64,
    pub key: Option<KeyId>,
    pub place: Spot,
    pub file: Option<FileRef>,
}

impl Index {
    pub(crate) fn new(base: Base, memory: Memory, cached_places: usize) -> Self {
        let places = Cache::new(cached_places.max(1));
        let (memory, checkpointed) = (RwLock::new(memory), Mutex::new(None));
        Self { memory, base, checkpointed, places, generation: AtomicU64::new(0) }
    }

    /// Where a content lies, as far as memory knows: `Some(None)` says that there is no such content.
    pub(crate) fn locate_now(&self, address: &Address) -> Option<Option<Located>> {
        if let Some(located) = self.places.get(address) {
            return Some(Some(located));
        }
        self.memory().find(address).map(|entry| entry.map(Located::of))
    }

    /// Where a content lies. It may read from the disk.
    pub(crate) fn locate(&self, address: &Address) -> Result<Option<Located>, Trouble> {
        let generation = self.generation.load(Ordering::SeqCst);
        let Some(located) = self.find(address)?.as_ref().map(Located::of) else { return Ok(None) };
        self.places.insert(*address, located);
        if self.generation.load(Ordering::SeqCst) != generation {
            self.places.remove(address);
        }
        Ok(Some(located))
    }

    /// What is known of a content. It may read from the disk.
    pub(crate) fn find(&self, address: &Address) -> Result<Option<Entry>, Trouble> {
        if let Some(known) = self.memory().find(address) {
            return Ok(known.cloned());
        }
        Ok(self.base.get(address)?)
    }

    /// Makes changes visible, in the order in which they are in the log.
    pub(crate) fn publish(&self, changes: Vec<Change>, at: Position, next_claim: u64) {
        let changed: Vec<Address> = changes.iter().filter_map(Change::address).collect();
        self.memory_mut().publish(changes, at, next_claim);
        self.generation.fetch_add(1, Ordering::SeqCst);
        for address in &changed {
            self.places.remove(address);
        }
    }

    /// The contents that an owner claims, by address, beginning after one.
    pub(crate) fn contents(
        &self,
        owner: Owner,
        mut after: Option<Address>,
        limit: usize,
    ) -> Result<Vec<Stored>, Trouble> {
        let mut contents = Vec::new();
        while contents.len() < limit {
            let page = {
                // The memory is held until the base is read, so that no change slips from the one to the other between.
                let memory = self.memory();
                let base = self.base.range(after, AT_ONCE)?;
                memory.merge(after, base, AT_ONCE)
            };
            after = page.last().map(|(address, _)| *address);
            let ended = page.len() < AT_ONCE;
            let known = page.iter().filter_map(|(address, entry)| Some((address, entry.as_ref()?)));
            contents.extend(known.filter_map(|(address, entry)| entry.stored(*address, owner)));
            if ended {
                break;
            }
        }
        contents.truncate(limit);
        Ok(contents)
    }

    /// Looks at the numbers.
    pub(crate) fn ledger<T>(&self, look: impl FnOnce(&Ledger) -> T) -> T {
        look(self.memory().ledger())
    }

    /// A pack was removed.
    pub(crate) fn forget_pack(&self, pack: crate::pack::PackId) {
        self.memory_mut().forget_pack(pack);
    }

    /// Changes that no checkpoint holds yet.
    pub(crate) fn behind(&self) -> usize {
        self.memory().behind()
    }

    /// Brings all changes to disk.
    pub(crate) fn checkpoint(&self) -> Result<(), BaseError> {
        let mut checkpointed = self.checkpointed.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = self.memory().at();
        while checkpointed.is_none_or(|known| known < wanted) {
            // What a failed checkpoint had left to be written comes first, and what came since then after it.
            let frozen = self.memory_mut().freeze();
            self.base.commit(&frozen)?;
            self.memory_mut().thawed();
            *checkpointed = Some(frozen.checkpoint.at);
        }
        self.base.trust()
    }

    /// Up to where in the log the base knows.
    pub(crate) fn checkpointed(&self) -> Option<Position> {
        *self.checkpointed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that the log alone is to be gone by until the next checkpoint.
    pub(crate) fn distrust_base(&self) -> Result<(), BaseError> {
        self.base.distrust()
    }

    /// Lets the base go.
    pub(crate) fn close(&self) {
        self.base.close();
    }

    /// Where the base lies.
    pub(crate) fn path(&self) -> &Path {
        self.base.path()
    }

    fn memory(&self) -> RwLockReadGuard<'_, Memory> {
        self.memory.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn memory_mut(&self) -> RwLockWriteGuard<'_, Memory> {
        self.memory.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Located {
    fn of(entry: &Entry) -> Self {
        Self { size: entry.size, key: entry.key, place: entry.place, file: entry.file }
    }
}
