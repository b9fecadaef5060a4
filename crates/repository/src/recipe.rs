//! What content is made of.

use std::ops::Range;

use mainstay_dataplane::Address;
use minicbor::{Decode, Encode};

use crate::chunk::{ChunkId, ChunkRef, MAX_CHUNK};

/// Content of up to this many chunks has them all in its record: some 8 MB.
const MAX_DIRECT: usize = 128;

/// Bytes of a chunk in a list: its id, and its length in little-endian.
const ENTRY_LEN: usize = 36;

/// Chunks that a list names at most, so that it fits into a chunk itself.
pub(crate) const MAX_LISTED: usize = MAX_CHUNK / ENTRY_LEN;

/// Content, and the chunks it is made of in their order.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Content {
    #[n(0)]
    pub(crate) address: Address,
    /// In bytes.
    #[n(1)]
    pub(crate) size: u64,
    #[n(2)]
    pub(crate) recipe: Recipe,
}

/// Chunks of content, one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Recipe {
    #[n(0)]
    Direct(#[n(0)] Vec<ChunkRef>),
    /// The chunks stand in lists, which are chunks themselves.
    #[n(1)]
    Lists(#[n(0)] Vec<List>),
}

/// A list of chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct List {
    #[n(0)]
    pub(crate) chunk: ChunkRef,
    /// Of the content that its chunks are.
    #[n(1)]
    pub(crate) covers: u64,
}

/// Collects the chunks of content as they come.
#[derive(Default)]
pub(crate) struct RecipeBuilder {
    lists: Vec<List>,
    open: Vec<ChunkRef>,
    size: u64,
}

impl RecipeBuilder {
    /// Notes the next chunk; where a list is full by that, it is to be stored as a chunk.
    pub(crate) fn push(&mut self, chunk: ChunkRef, store: impl FnOnce(Vec<u8>) -> ChunkRef) {
        if self.open.len() == MAX_LISTED {
            self.close(store);
        }
        self.size += u64::from(chunk.len);
        self.open.push(chunk);
    }

    pub(crate) fn finish(mut self, store: impl FnOnce(Vec<u8>) -> ChunkRef) -> (Recipe, u64) {
        if self.lists.is_empty() && self.open.len() <= MAX_DIRECT {
            return (Recipe::Direct(self.open), self.size);
        }
        if !self.open.is_empty() {
            self.close(store);
        }
        (Recipe::Lists(self.lists), self.size)
    }

    fn close(&mut self, store: impl FnOnce(Vec<u8>) -> ChunkRef) {
        let covers = self.open.iter().map(|chunk| u64::from(chunk.len)).sum();
        let mut bytes = Vec::with_capacity(ENTRY_LEN * self.open.len());
        for ChunkRef { id, len } in self.open.drain(..) {
            bytes.extend_from_slice(&id.0);
            bytes.extend_from_slice(&len.to_le_bytes());
        }
        self.lists.push(List { chunk: store(bytes), covers });
    }
}

/// The chunks of a list; nothing where it is none.
pub(crate) fn read_list(bytes: &[u8]) -> Option<Vec<ChunkRef>> {
    let (entries, []) = bytes.as_chunks::<ENTRY_LEN>() else { return None };
    let read = |entry: &[u8; ENTRY_LEN]| {
        let (id, len) = entry.split_first_chunk::<32>().expect("36 bytes begin with 32");
        ChunkRef { id: ChunkId(*id), len: u32::from_le_bytes([len[0], len[1], len[2], len[3]]) }
    };
    Some(entries.iter().map(read).collect())
}

/// What of some consecutive parts lies in a range of the whole: for each, its place and the range in it.
pub(crate) fn within(lens: impl Iterator<Item = u64>, range: Range<u64>) -> Vec<(usize, Range<u64>)> {
    let mut start = 0;
    let mut found = Vec::new();
    for (place, len) in lens.enumerate() {
        let end = start + len;
        if !range.is_empty() && start < range.end && end > range.start {
            found.push((place, range.start.max(start) - start..range.end.min(end) - start));
        }
        start = end;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{MAX_DIRECT, MAX_LISTED, Recipe, RecipeBuilder, read_list, within};
    use crate::chunk::{ChunkId, ChunkRef, MAX_CHUNK};

    fn chunk(number: usize) -> ChunkRef {
        ChunkRef { id: ChunkId(*blake3::hash(&number.to_le_bytes()).as_bytes()), len: number as u32 % 1000 + 1 }
    }

    #[test]
    fn a_recipe_gives_its_chunks_back_in_order() {
        for count in [0, 1, MAX_DIRECT, MAX_DIRECT + 1, MAX_LISTED, MAX_LISTED + 1, 3 * MAX_LISTED] {
            let mut stored: Vec<Vec<u8>> = Vec::new();
            let mut store = |bytes: Vec<u8>| {
                assert!(bytes.len() <= MAX_CHUNK);
                stored.push(bytes);
                chunk(stored.len())
            };
            let mut builder = RecipeBuilder::default();
            for number in 0..count {
                builder.push(chunk(number), &mut store);
            }
            let (recipe, size) = builder.finish(&mut store);
            assert_eq!(size, (0..count).map(|number| u64::from(chunk(number).len)).sum::<u64>());
            let chunks = match recipe {
                Recipe::Direct(chunks) => chunks,
                Recipe::Lists(lists) => {
                    assert_eq!(lists.iter().map(|list| list.covers).sum::<u64>(), size);
                    stored.iter().flat_map(|list| read_list(list).unwrap()).collect()
                }
            };
            assert_eq!(chunks, (0..count).map(chunk).collect::<Vec<_>>(), "{count}");
        }
    }

    #[test]
    fn a_range_lies_within_parts() {
        let lens = [3u64, 5, 2];
        let parts = |range| within(lens.into_iter(), range);
        assert_eq!(parts(0..10), [(0, 0..3), (1, 0..5), (2, 0..2)]);
        assert_eq!(parts(3..8), [(1, 0..5)]);
        assert_eq!(parts(2..4), [(0, 2..3), (1, 0..1)]);
        assert_eq!(parts(9..10), [(2, 1..2)]);
        assert_eq!(parts(4..4), []);
    }
}
