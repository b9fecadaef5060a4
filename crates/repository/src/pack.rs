//! Packs: files of chunks.
//!
//! ```text
//! pack:   sealed chunk*, sealed table, length of the sealed table (4 bytes), "MSPACK" and the version (8 bytes)
//! table:  CBOR: version, when it was written, a line for each chunk, the contents that are complete with this pack
//! line:   chunk id (32 bytes), offset (4), stored length (4), length (4)         numbers are little-endian
//! ```

use bytes::Bytes;
use mainstay_types::{Digest, Timestamp};
use minicbor::{Decode, Encode};

use crate::chunk::{self, ChunkId, ChunkRef};
use crate::keys::{Keys, Place};
use crate::recipe::Content;
use crate::record::Claimed;

/// A pack is written when this much is in it: large enough that files are few and stores are fast with them, small
/// enough that two are held in memory.
pub(crate) const PACK_LEN: usize = 16 << 20;

/// Memory of a pack that gets full: its last chunks go beyond [`PACK_LEN`], and its table follows them. To double what is there,
/// as vectors do, would take twice as much.
const PACK_MEMORY: usize = PACK_LEN + (2 << 20);

/// With so much in it a pack is likely to get full.
const LIKELY_FULL: usize = PACK_LEN / 8;

/// Chunks in a pack at most, however small they are: its table is held in memory.
const MAX_LINES: usize = 1 << 16;

/// What a pack ends with: where its table begins, and that it is one.
const TRAILER_LEN: usize = 12;
const MAGIC: [u8; 8] = *b"MSPACK\x00\x01";

/// Bytes of a table's line.
const LINE_LEN: usize = 44;

pub(crate) const PACKS: &str = "packs/";

/// A chunk's place in a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) chunk: ChunkRef,
    pub(crate) offset: u32,
    pub(crate) stored_len: u32,
}

/// A pack as index records list it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct PackEntry {
    #[n(0)]
    pub(crate) name: Digest,
    /// Of the file.
    #[n(1)]
    pub(crate) len: u64,
    #[n(2)]
    pub(crate) written_at: Timestamp,
    #[n(3)]
    pub(crate) lines: Lines,
}

/// A pack's chunks, in the order in which they lie in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Lines(pub(crate) Vec<Line>);

#[derive(Encode, Decode)]
struct Table {
    #[n(0)]
    version: u8,
    #[n(1)]
    written_at: Timestamp,
    #[n(2)]
    lines: Lines,
    #[n(3)]
    complete: Complete,
}

/// Contents whose last chunks are in a pack, so that they are found again where the index is damaged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Complete {
    #[n(0)]
    pub(crate) contents: Vec<Content>,
    #[n(1)]
    pub(crate) claims: Vec<Claimed>,
}

const TABLE_VERSION: u8 = 1;

/// A pack that is being filled.
#[derive(Default)]
pub(crate) struct PackBuilder {
    bytes: Vec<u8>,
    lines: Vec<Line>,
}

/// A pack that can be written.
pub(crate) struct Pack {
    pub(crate) entry: PackEntry,
    pub(crate) bytes: Bytes,
}

impl PackBuilder {
    /// In memory that a pack which was written left behind.
    pub(crate) fn reusing(mut bytes: Vec<u8>) -> Self {
        bytes.clear();
        Self { bytes, lines: Vec::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() >= PACK_LEN || self.lines.len() >= MAX_LINES
    }

    /// Compresses a chunk and seals it.
    pub(crate) fn seal(
        &mut self,
        keys: &Keys,
        compressor: &mut zstd::bulk::Compressor<'static>,
        chunk: ChunkRef,
        plain: &[u8],
    ) {
        let start = self.bytes.len();
        chunk::seal(keys, compressor, &chunk.id, plain, &mut self.bytes);
        self.lines.push(Line { chunk, offset: start as u32, stored_len: (self.bytes.len() - start) as u32 });
    }

    /// Takes a chunk that is sealed.
    pub(crate) fn push(&mut self, chunk: ChunkRef, sealed: &[u8]) {
        let offset = self.bytes.len() as u32;
        self.bytes.extend_from_slice(sealed);
        self.lines.push(Line { chunk, offset, stored_len: sealed.len() as u32 });
    }

    /// Takes all chunks of another one.
    pub(crate) fn append(&mut self, other: &Self) {
        let start = self.bytes.len() as u32;
        let len = self.bytes.len() + other.bytes.len();
        if len > self.bytes.capacity() && len > LIKELY_FULL && len < PACK_MEMORY {
            self.bytes.reserve_exact(PACK_MEMORY - self.bytes.len());
        }
        self.bytes.extend_from_slice(&other.bytes);
        self.lines.extend(other.lines.iter().map(|line| Line { offset: start + line.offset, ..*line }));
    }

    /// The sealed chunks in it.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = (ChunkRef, &[u8])> {
        self.lines.iter().map(|line| (line.chunk, &self.bytes[line.range()]))
    }

    pub(crate) fn finish(self, keys: &Keys, now: Timestamp, complete: Complete) -> Pack {
        let Self { mut bytes, lines } = self;
        let table = Table { version: TABLE_VERSION, written_at: now, lines: Lines(lines), complete };
        let start = bytes.len();
        keys.seal(Place::Table, &mut bytes, |out| {
            minicbor::encode(&table, out).expect("a vector takes everything");
        });
        let table_len = (bytes.len() - start) as u32;
        bytes.extend_from_slice(&table_len.to_le_bytes());
        bytes.extend_from_slice(&MAGIC);
        let entry =
            PackEntry { name: Digest::of(&bytes), len: bytes.len() as u64, written_at: now, lines: table.lines };
        Pack { entry, bytes: bytes.into() }
    }
}

/// Where a pack lies.
pub(crate) fn path(name: &Digest) -> String {
    let digits = name.to_string();
    format!("{PACKS}{}/{digits}", &digits[..2])
}

/// The pack that a file is, if its name is one.
pub(crate) fn name_of(path: &str) -> Option<Digest> {
    let digits = path.strip_prefix(PACKS)?.split_once('/')?.1;
    let name = blake3::Hash::from_hex(digits).ok().map(|hash| Digest::from_bytes(*hash.as_bytes()))?;
    (self::path(&name) == path).then_some(name)
}

/// How many bytes of a pack's end its table takes, told by its last [`TRAILER_LEN`] bytes.
pub(crate) fn end_len(last: &[u8]) -> Option<u64> {
    let (len, magic) = last.get(last.len().checked_sub(TRAILER_LEN)?..)?.split_first_chunk::<4>()?;
    (magic == MAGIC).then(|| u64::from(u32::from_le_bytes(*len)) + TRAILER_LEN as u64)
}

/// The table at the end of a pack, of which `end` is at least the last [`end_len`] bytes.
pub(crate) fn read_table(keys: &Keys, name: Digest, len: u64, end: &mut [u8]) -> Option<(PackEntry, Complete)> {
    let start = end.len().checked_sub(usize::try_from(end_len(end)?).ok()?)?;
    let sealed_end = end.len() - TRAILER_LEN;
    let opened = keys.open(Place::Table, &mut end[start..sealed_end])?;
    let table: Table = minicbor::decode(opened).ok()?;
    let fits = |line: &Line| line.range().end as u64 <= len;
    let known = table.version == TABLE_VERSION && table.lines.0.iter().all(fits);
    let entry = PackEntry { name, len, written_at: table.written_at, lines: table.lines };
    known.then_some((entry, table.complete))
}

/// How long the end of a pack is that certainly has the trailer.
pub(crate) const LAST: u64 = TRAILER_LEN as u64;

impl Line {
    pub(crate) fn range(&self) -> std::ops::Range<usize> {
        self.offset as usize..self.offset as usize + self.stored_len as usize
    }
}

impl<C> Encode<C> for Lines {
    fn encode<W: minicbor::encode::Write>(
        &self,
        encoder: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        let mut bytes = Vec::with_capacity(LINE_LEN * self.0.len());
        for Line { chunk, offset, stored_len } in &self.0 {
            bytes.extend_from_slice(&chunk.id.0);
            [*offset, *stored_len, chunk.len].iter().for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
        }
        encoder.bytes(&bytes)?;
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for Lines {
    fn decode(decoder: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let (lines, rest) = decoder.bytes()?.as_chunks::<LINE_LEN>();
        if !rest.is_empty() {
            return Err(minicbor::decode::Error::message("a line has 44 bytes"));
        }
        let read = |line: &[u8; LINE_LEN]| {
            let (id, numbers) = line.split_first_chunk::<32>().expect("44 bytes begin with 32");
            let number = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|byte| numbers[4 * at + byte]));
            Line { chunk: ChunkRef { id: ChunkId(*id), len: number(2) }, offset: number(0), stored_len: number(1) }
        };
        Ok(Self(lines.iter().map(read).collect()))
    }
}

#[cfg(test)]
mod tests {
    use mainstay_types::Timestamp;
    use uuid::Uuid;

    use super::{Complete, PackBuilder, end_len, name_of, path, read_table};
    use crate::RecoveryKey;
    use crate::chunk::{self, ChunkRef};
    use crate::keys::Keys;

    #[test]
    fn a_pack_tells_what_is_in_it() {
        let keys = Keys::derive(&RecoveryKey::draw().unwrap(), Uuid::nil());
        let mut compressor = zstd::bulk::Compressor::new(1).unwrap();
        let plains: Vec<Vec<u8>> = (1..20u8).map(|n| vec![n; usize::from(n) * 1000]).collect();
        let (mut builder, mut later) = (PackBuilder::default(), PackBuilder::default());
        for (number, plain) in plains.iter().enumerate() {
            let chunk = ChunkRef { id: keys.chunk_id(plain), len: plain.len() as u32 };
            let builder = if number < 10 { &mut builder } else { &mut later };
            builder.seal(&keys, &mut compressor, chunk, plain);
        }
        builder.append(&later);
        let pack = builder.finish(&keys, Timestamp::from_micros(5), Complete::default());
        let mut bytes = pack.bytes.to_vec();
        let end = end_len(&bytes).unwrap() as usize;
        let start = bytes.len() - end;
        let (entry, _) = read_table(&keys, pack.entry.name, pack.entry.len, &mut bytes.clone()[start..]).unwrap();
        assert_eq!(entry, pack.entry);
        assert_eq!(minicbor::decode::<super::PackEntry>(&minicbor::to_vec(&entry).unwrap()).unwrap(), entry);
        assert_eq!(name_of(&path(&entry.name)), Some(entry.name));
        assert_eq!(name_of("packs/00/x"), None);
        let mut decompressor = zstd::bulk::Decompressor::new().unwrap();
        for (line, plain) in entry.lines.0.iter().zip(&plains) {
            let mut out = vec![1, 2, 3];
            chunk::open(&keys, &mut decompressor, &line.chunk, &mut bytes[line.range()], &mut out).unwrap();
            assert_eq!(out[3..], plain[..]);
        }
    }
}
