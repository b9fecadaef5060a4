//! Which chunk lies where: all of them, in memory, in 28 bytes each and an eighth of room to grow.
//!
//! Ids are digests, so that their first bits spread chunks evenly over many short sorted lists, in each of which a chunk
//! is found by bisection. 128 bits of an id are enough to tell chunks apart: two of 2^40 chunks meet with a probability of
//! 2^-49, and nobody can look for such two without the repository's key.

use crate::chunk::ChunkId;

/// Lists, by the first 12 bits of the id.
const SHARDS: usize = 1 << 12;

/// Where a chunk lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct At {
    /// The pack's number in this process.
    pub(crate) pack: u32,
    pub(crate) offset: u32,
    /// Of the sealed chunk.
    pub(crate) stored_len: u32,
    /// Of its plain bytes.
    pub(crate) len: u32,
}

/// All chunks.
pub(crate) struct Index {
    shards: Vec<Vec<Slot>>,
}

/// In bytes throughout, so that nothing is lost to alignment.
#[derive(Clone, Copy)]
struct Slot {
    key: [u8; 16],
    pack: [u8; 4],
    /// 25 bits of offset, 19 of stored length, 19 of length, and a mark.
    span: [u8; 8],
}

const LEN_BITS: u32 = 19;
const OFFSET_BITS: u32 = 25;

/// A pack's offsets end here.
pub(crate) const MAX_OFFSET: u64 = 1 << OFFSET_BITS;

impl Default for Index {
    fn default() -> Self {
        Self { shards: vec![Vec::new(); SHARDS] }
    }
}

impl Index {
    pub(crate) fn get(&self, id: &ChunkId) -> Option<At> {
        let shard = &self.shards[shard_of(id)];
        shard.binary_search_by(|slot| slot.key.cmp(key_of(id))).ok().map(|place| shard[place].at())
    }

    /// Notes where a chunk lies, in place of what was known of it.
    pub(crate) fn insert(&mut self, id: &ChunkId, at: At) {
        let shard = &mut self.shards[shard_of(id)];
        match shard.binary_search_by(|slot| slot.key.cmp(key_of(id))) {
            Ok(place) => shard[place] = Slot::new(id, at),
            Err(place) => {
                if shard.len() == shard.capacity() {
                    shard.reserve_exact((shard.len() / 8).max(2));
                }
                shard.insert(place, Slot::new(id, at));
            }
        }
    }

    /// Marks a chunk; answers where it lies, and whether it was marked before.
    pub(crate) fn mark(&mut self, id: &ChunkId) -> Option<(At, bool)> {
        let shard = &mut self.shards[shard_of(id)];
        let place = shard.binary_search_by(|slot| slot.key.cmp(key_of(id))).ok()?;
        let slot = &mut shard[place];
        let before = slot.is_marked();
        slot.span[7] |= 0x80;
        Some((slot.at(), before))
    }

    pub(crate) fn clear_marks(&mut self) {
        self.shards.iter_mut().flatten().for_each(|slot| slot.span[7] &= 0x7f);
    }

    pub(crate) fn is_marked(&self, id: &ChunkId) -> bool {
        let shard = &self.shards[shard_of(id)];
        shard.binary_search_by(|slot| slot.key.cmp(key_of(id))).is_ok_and(|place| shard[place].is_marked())
    }

    pub(crate) fn for_each_marked(&self, mut each: impl FnMut(At)) {
        self.shards.iter().flatten().filter(|slot| slot.is_marked()).for_each(|slot| each(slot.at()));
    }

    /// Keeps the chunks of which that is so.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(At) -> bool) {
        self.shards.iter_mut().for_each(|shard| shard.retain(|slot| keep(slot.at())));
    }

    pub(crate) fn len(&self) -> u64 {
        self.shards.iter().map(|shard| shard.len() as u64).sum()
    }

    /// Memory that it takes.
    pub(crate) fn bytes(&self) -> u64 {
        let slots: usize = self.shards.iter().map(Vec::capacity).sum();
        (slots * size_of::<Slot>() + SHARDS * size_of::<Vec<Slot>>()) as u64
    }
}

impl Slot {
    fn new(id: &ChunkId, at: At) -> Self {
        debug_assert!(u64::from(at.offset) < MAX_OFFSET && (at.stored_len | at.len) >> LEN_BITS == 0);
        let span = u64::from(at.offset)
            | u64::from(at.stored_len) << OFFSET_BITS
            | u64::from(at.len) << (OFFSET_BITS + LEN_BITS);
        Self { key: *key_of(id), pack: at.pack.to_le_bytes(), span: span.to_le_bytes() }
    }

    fn at(&self) -> At {
        let span = u64::from_le_bytes(self.span);
        let bits = |from: u32, count: u32| (span >> from & ((1 << count) - 1)) as u32;
        At {
            pack: u32::from_le_bytes(self.pack),
            offset: bits(0, OFFSET_BITS),
            stored_len: bits(OFFSET_BITS, LEN_BITS),
            len: bits(OFFSET_BITS + LEN_BITS, LEN_BITS),
        }
    }

    fn is_marked(&self) -> bool {
        self.span[7] & 0x80 != 0
    }
}

fn shard_of(id: &ChunkId) -> usize {
    usize::from(u16::from_be_bytes([id.0[0], id.0[1]]) >> 4)
}

fn key_of(id: &ChunkId) -> &[u8; 16] {
    id.0.first_chunk().expect("32 bytes begin with 16")
}

#[cfg(test)]
mod tests {
    use super::{At, Index};
    use crate::chunk::ChunkId;

    fn id(number: u64) -> ChunkId {
        ChunkId(*blake3::hash(&number.to_le_bytes()).as_bytes())
    }

    #[test]
    fn chunks_are_found_where_they_were_put() {
        let at = |number: u64| At {
            pack: number as u32,
            offset: (number * 97 % (1 << 25)) as u32,
            stored_len: (number % 262_300) as u32,
            len: (number * 3 % 262_145) as u32,
        };
        let mut index = Index::default();
        for number in 0..500_000 {
            index.insert(&id(number), at(number));
        }
        assert_eq!(index.len(), 500_000);
        // What the design allows is 48.
        let each = index.bytes() as f64 / index.len() as f64;
        assert!(each < 36.0, "{each} bytes for each chunk");
        for number in (0..500_000).step_by(7) {
            assert_eq!(index.get(&id(number)), Some(at(number)));
            assert_eq!(index.mark(&id(number)), Some((at(number), false)));
            assert_eq!(index.mark(&id(number)), Some((at(number), true)));
        }
        assert_eq!(index.get(&id(500_000)), None);
        assert!(index.is_marked(&id(7)) && !index.is_marked(&id(8)));
        index.clear_marks();
        assert!(!index.is_marked(&id(7)));
        index.retain(|at| at.pack % 2 == 0);
        assert_eq!((index.len(), index.get(&id(3)), index.get(&id(4))), (250_000, None, Some(at(4))));
    }
}
