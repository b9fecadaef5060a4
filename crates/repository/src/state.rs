//! What the repository holds, in memory: the fold of its index records, and what is under way.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Weak};

use mainstay_dataplane::{Address, Claim, Owner};
use mainstay_types::{Digest, Timestamp};

use crate::chunk::ChunkId;
use crate::index::{At, Index};
use crate::pack::{Complete, PackEntry};
use crate::recipe::Content;
use crate::record::Claimed;

/// Chunks that were found damaged and are remembered, so that they are stored anew when they come again. Who has more
/// than this takes another copy of the repository.
const MAX_SUSPECTS: usize = 100_000;

/// All owners, in the order of their places in [`Entry`].
pub(crate) const OWNERS: [Owner; 3] = [Owner::Objects, Owner::Artifacts, Owner::Backups];

#[derive(Default)]
pub(crate) struct State {
    pub(crate) index: Index,
    pub(crate) packs: Packs,
    pub(crate) contents: BTreeMap<Address, Entry>,
    /// Of all contents.
    pub(crate) raw_bytes: u64,
    /// Content that was given up, and may still be read by somebody.
    departed: Vec<Weak<Content>>,
    /// The highest that was ever made; none was made before 1.
    pub(crate) last_claim: u64,
    /// The records that count, by name.
    pub(crate) records: BTreeMap<String, KnownRecord>,
    /// Records that say nothing any more, or cannot be read: the next summary takes their place.
    pub(crate) stale: Vec<String>,
    /// Those of them that could not be read when the repository was opened.
    pub(crate) unreadable: HashSet<String>,
    pub(crate) next_sequence: u64,
    /// What lies in packs and stands in no record yet.
    pub(crate) unrecorded: Unrecorded,
    /// Names of packs that are being written.
    pub(crate) arriving: HashSet<Digest>,
    suspects: HashSet<ChunkId>,
    /// Counts what ingests do, so that it can be said which began before what.
    tick: u64,
    /// Ingests that run, by the tick at which each began.
    sessions: HashSet<u64>,
}

/// Content, and who claims it.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) content: Arc<Content>,
    /// By the place of the owner in [`OWNERS`].
    pub(crate) held: [Option<Held>; OWNERS.len()],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) claim: Claim,
    pub(crate) at: Timestamp,
}

#[derive(Debug, Clone)]
pub(crate) struct KnownRecord {
    pub(crate) len: u64,
    pub(crate) packs: Vec<u32>,
    /// Whether it says more than which chunks lie in packs.
    pub(crate) claims: bool,
}

#[derive(Default)]
pub(crate) struct Unrecorded {
    pub(crate) packs: Vec<PackEntry>,
    pub(crate) complete: Complete,
}

/// Packs by their number in this process.
#[derive(Default)]
pub(crate) struct Packs {
    all: Vec<Option<KnownPack>>,
    numbers: HashMap<Digest, u32>,
    bytes: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct KnownPack {
    pub(crate) name: Digest,
    pub(crate) len: u64,
    pub(crate) written_at: Timestamp,
    /// When an ingest last found a chunk in it that it need not store.
    relied_at: u64,
    /// Whether it is about to be removed, so that nobody relies on it any more.
    pub(crate) leaving: bool,
}

// === impl State ===

impl State {
    /// Notes that an ingest begins; everything that it relies on stays until it has ended.
    pub(crate) fn begin_session(&mut self) -> u64 {
        self.tick += 1;
        self.sessions.insert(self.tick);
        self.tick
    }

    pub(crate) fn end_session(&mut self, session: u64) {
        self.sessions.remove(&session);
    }

    /// What was relied on from then on is relied on by an ingest that may be running.
    pub(crate) fn horizon(&self) -> u64 {
        self.sessions.iter().copied().min().unwrap_or(self.tick + 1)
    }

    /// Whether a chunk need not be stored. Its pack stays, then, as long as the ingest that asks runs.
    pub(crate) fn rely_on(&mut self, id: &ChunkId) -> bool {
        let Some(at) = self.index.get(id) else { return false };
        if self.suspects.contains(id) {
            return false;
        }
        match self.packs.get_mut(at.pack) {
            Some(pack) if !pack.leaving => {
                self.tick += 1;
                pack.relied_at = self.tick;
                true
            }
            _ => false,
        }
    }

    /// Where a chunk is to be read.
    pub(crate) fn locate(&self, id: &ChunkId) -> Option<(Digest, At)> {
        let at = self.index.get(id)?;
        Some((self.packs.get(at.pack)?.name, at))
    }

    /// A pack is there; it counts where its chunks were not known, or not to be relied on.
    pub(crate) fn add_pack(&mut self, entry: &PackEntry) -> u32 {
        let number = self.packs.add(entry);
        // Whoever has written it has not committed what is in it.
        self.tick += 1;
        if let Some(pack) = self.packs.get_mut(number) {
            pack.relied_at = self.tick;
        }
        for line in &entry.lines.0 {
            let id = &line.chunk.id;
            let known = self.index.get(id).and_then(|at| self.packs.get(at.pack)).is_some_and(|pack| !pack.leaving);
            if !known || self.suspects.remove(id) {
                let at = At { pack: number, offset: line.offset, stored_len: line.stored_len, len: line.chunk.len };
                self.index.insert(id, at);
            }
        }
        number
    }

    /// A chunk was found damaged.
    pub(crate) fn suspect(&mut self, id: ChunkId) {
        if self.suspects.len() < MAX_SUSPECTS {
            self.suspects.insert(id);
        }
    }

    /// Puts an entry in the place of what was known of its content; without claims the content is gone.
    pub(crate) fn put(&mut self, entry: Entry) {
        let (address, size) = (entry.content.address, entry.content.size);
        let stays = entry.held.iter().any(Option::is_some);
        let before = if stays { self.contents.insert(address, entry) } else { self.contents.remove(&address) };
        match (before, stays) {
            (None, true) => self.raw_bytes += size,
            (Some(before), false) => {
                self.raw_bytes -= size;
                self.departed.retain(|content| content.strong_count() > 0);
                self.departed.push(Arc::downgrade(&before.content));
            }
            _ => {}
        }
    }

    /// All content that is claimed, or that somebody still reads.
    pub(crate) fn live(&mut self) -> Vec<Arc<Content>> {
        self.departed.retain(|content| content.strong_count() > 0);
        let departed = self.departed.iter().filter_map(Weak::upgrade);
        self.contents.values().map(|entry| Arc::clone(&entry.content)).chain(departed).collect()
    }

    /// A claim above every earlier one, also above those on content that has gone since: the microseconds of the clock, or
    /// one more than the last where the clock stands or goes back.
    pub(crate) fn next_claim(&self, last: u64, now: Timestamp) -> Claim {
        let least = self.last_claim.max(last).saturating_add(1);
        Claim(least.max(now.as_micros().max(0) as u64))
    }

    /// What a record says of all claims.
    pub(crate) fn complete(&self) -> Complete {
        let contents = self.contents.values().map(|entry| (*entry.content).clone()).collect();
        let claims = self.contents.values().flat_map(Entry::claims).collect();
        Complete { contents, claims }
    }

    /// Of all packs and records.
    pub(crate) fn stored_bytes(&self) -> u64 {
        self.packs.bytes() + self.records.values().map(|record| record.len).sum::<u64>()
    }

    /// Whether a record says nothing any more, though it lies there and could be read.
    pub(crate) fn is_superseded(&self, record: &str) -> bool {
        !self.records.contains_key(record)
            && !self.unreadable.contains(record)
            && self.stale.iter().any(|name| name == record)
    }

    /// A number for a record after all others.
    pub(crate) fn draw_sequence(&mut self) -> u64 {
        self.next_sequence += 1;
        self.next_sequence
    }
}

// === impl Entry ===

impl Entry {
    pub(crate) fn new(content: Content) -> Self {
        Self { content: Arc::new(content), held: Default::default() }
    }

    pub(crate) fn held(&self, owner: Owner) -> Option<Held> {
        self.held[owner as usize]
    }

    pub(crate) fn claims(&self) -> impl Iterator<Item = Claimed> {
        let address = self.content.address;
        let held = OWNERS.into_iter().zip(self.held);
        held.filter_map(move |(owner, held)| held.map(|Held { claim, at }| Claimed { owner, address, claim, at }))
    }
}

// === impl Packs ===

impl Packs {
    pub(crate) fn add(&mut self, entry: &PackEntry) -> u32 {
        if let Some(&number) = self.numbers.get(&entry.name) {
            return number;
        }
        let number = self.all.len() as u32;
        let PackEntry { name, len, written_at, .. } = *entry;
        self.all.push(Some(KnownPack { name, len, written_at, relied_at: 0, leaving: false }));
        self.numbers.insert(name, number);
        self.bytes += len;
        number
    }

    pub(crate) fn get(&self, number: u32) -> Option<&KnownPack> {
        self.all.get(number as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, number: u32) -> Option<&mut KnownPack> {
        self.all.get_mut(number as usize)?.as_mut()
    }

    pub(crate) fn number(&self, name: &Digest) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    pub(crate) fn remove(&mut self, number: u32) {
        if let Some(pack) = self.all.get_mut(number as usize).and_then(Option::take) {
            self.numbers.remove(&pack.name);
            self.bytes -= pack.len;
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &KnownPack)> {
        (0..).zip(&self.all).filter_map(|(number, pack)| Some((number, pack.as_ref()?)))
    }

    /// Of all packs.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn len(&self) -> u64 {
        self.numbers.len() as u64
    }
}

impl KnownPack {
    /// Whether an ingest that may be running relies on it.
    pub(crate) fn is_relied_on(&self, horizon: u64) -> bool {
        self.relied_at >= horizon
    }
}
