//! From stored bytes to content again.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use mainstay_dataplane::{ContentKey, KeyId, ServeError};

use crate::block::Opener;
use crate::{BufferPool, Damage, GROUP_LEN, Header};

/// Says which stored bytes a range of content needs, and makes verified content of them. It reads nothing itself.
pub struct Reader {
    header: Arc<Header>,
    opener: Opener,
}

/// A part of a range of content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The stored bytes to read for it, counted from the first stored byte of the content.
    pub stored: Range<u64>,
    /// The groups that lie there.
    groups: Range<u64>,
    /// What of them belongs to the range.
    keep: Range<usize>,
}

impl Reader {
    /// Reads content with its header. The key is needed where the content is encrypted, and no other one will do.
    pub fn new(header: Arc<Header>, key: Option<&ContentKey>) -> Result<Self, KeyId> {
        if let Some(needed) = header.key()
            && key.is_none_or(|key| key.id != needed)
        {
            return Err(needed);
        }
        let opener = Opener::new(header.form(), key);
        Ok(Self { header, opener })
    }

    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The range that was asked for: all of the content, where none was.
    pub fn range(&self, asked: Option<Range<u64>>) -> Result<Range<u64>, ServeError> {
        let size = self.header.size();
        let range = asked.unwrap_or(0..size);
        if range.start > range.end || range.end > size {
            return Err(ServeError::RangeOutside { size });
        }
        Ok(range)
    }

    /// The first piece of a range within the content, of at most as many bytes of content as `groups` groups have; none
    /// where the range is empty. What follows begins where the piece's content ends.
    pub fn piece(&self, range: &Range<u64>, groups: u64) -> Option<Piece> {
        if range.is_empty() {
            return None;
        }
        const LEN: u64 = GROUP_LEN as u64;
        let first = range.start / LEN;
        let end = range.end.div_ceil(LEN).min(first + groups.max(1));
        let start = first * LEN;
        let keep = (range.start - start) as usize..(range.end.min(end * LEN) - start) as usize;
        let stored = if self.header.form().is_plain() {
            start..(end * LEN).min(self.header.size())
        } else {
            self.header.table().start(first)..self.header.table().start(end)
        };
        Some(Piece { stored, groups: first..end, keep })
    }

    /// Makes a piece's stored bytes the content that was asked for. Buffers of the pool must hold the piece's groups.
    pub fn open(&self, piece: &Piece, stored: Bytes, pool: &BufferPool) -> Result<Bytes, Damage> {
        let expected = piece.stored.end - piece.stored.start;
        if stored.len() as u64 != expected {
            return Err(Damage::Length { expected, found: stored.len() as u64 });
        }
        let groups = if self.header.form().is_plain() { stored } else { self.decode(piece, stored, pool)? };
        self.header.tree().verify(piece.groups.start, &groups)?;
        if groups.len() < piece.keep.end {
            return Err(Damage::Length { expected: piece.keep.end as u64, found: groups.len() as u64 });
        }
        Ok(groups.slice(piece.keep.clone()))
    }

    fn decode(&self, piece: &Piece, stored: Bytes, pool: &BufferPool) -> Result<Bytes, Damage> {
        let mut stored = BytesMut::from(stored);
        let mut content = pool.take();
        let mut len = 0;
        let blocks = self.header.table();
        for number in piece.groups.clone() {
            let block = blocks.block(number).ok_or(Damage::Header("its table of blocks is not that of the content"))?;
            let last = number + 1 == blocks.blocks();
            let mut bytes = stored.split_to(block.len as usize);
            let room = content.len().min(len + GROUP_LEN);
            len += self.opener.open(number, last, block.compressed, &mut bytes, &mut content[len..room])?;
        }
        Ok(content.freeze(len))
    }
}

impl Piece {
    /// Bytes of content that it gives.
    pub fn len(&self) -> u64 {
        self.keep.len() as u64
    }

    /// Whether it gives none, which no piece of a range does.
    pub fn is_empty(&self) -> bool {
        self.keep.is_empty()
    }
}
