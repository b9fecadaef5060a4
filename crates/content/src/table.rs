//! Where the blocks of content lie that is not kept as it came.

use crate::{Damage, GROUP_LEN};

/// Bytes of an entry at rest.
const ENTRY_LEN: usize = 4;

/// The bit of an entry that says that its block is compressed.
const COMPRESSED: u32 = 1 << 31;

/// Bytes that AES-256-GCM adds to a block.
const TAG_LEN: usize = 16;

/// The longest block: one that was not worth compressing, with its tag.
const MAX_BLOCK_LEN: usize = GROUP_LEN + TAG_LEN;

/// The lengths of the blocks, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    blocks: Vec<Block>,
}

/// A block at rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block {
    /// Where it ends in the stored bytes.
    pub(crate) end: u64,
    pub(crate) len: u32,
    pub(crate) compressed: bool,
}

impl Table {
    pub(crate) fn push(&mut self, len: usize, compressed: bool) {
        let end = self.stored_len() + len as u64;
        self.blocks.push(Block { end, len: len as u32, compressed });
    }

    pub(crate) fn decode(encoded: &[u8]) -> Result<Self, Damage> {
        let (entries, rest) = encoded.as_chunks::<ENTRY_LEN>();
        if !rest.is_empty() {
            return Err(Damage::Header("the table of blocks has no whole number of entries"));
        }
        let mut table = Self { blocks: Vec::with_capacity(entries.len()) };
        for entry in entries {
            let entry = u32::from_le_bytes(*entry);
            let len = (entry & !COMPRESSED) as usize;
            if len > MAX_BLOCK_LEN {
                return Err(Damage::Header("a block is longer than blocks can be"));
            }
            table.push(len, entry & COMPRESSED != 0);
        }
        Ok(table)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let entry = |block: &Block| (block.len | if block.compressed { COMPRESSED } else { 0 }).to_le_bytes();
        self.blocks.iter().flat_map(entry).collect()
    }

    pub(crate) fn block(&self, number: u64) -> Option<Block> {
        self.blocks.get(usize::try_from(number).ok()?).copied()
    }

    pub(crate) fn blocks(&self) -> u64 {
        self.blocks.len() as u64
    }

    /// Where a block begins; the end of the last one where there is no such block.
    pub(crate) fn start(&self, number: u64) -> u64 {
        self.block(number).map_or(self.stored_len(), |block| block.end - u64::from(block.len))
    }

    /// Of all blocks, in bytes.
    pub(crate) fn stored_len(&self) -> u64 {
        self.blocks.last().map_or(0, |block| block.end)
    }
}
