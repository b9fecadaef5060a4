//! Chunks: what content is cut into, and what they are called.

use minicbor::{Decode, Encode};

use crate::keys::{Keys, Place};

/// The shortest chunk, but for a content's last one.
pub(crate) const MIN_CHUNK: usize = 16 << 10;
/// What FastCDC aims at. Chunks of pages of databases, in which much repeats, come out at some 40 KiB; with an aim of 64 KiB
/// they had 130, and 2 % of changed pages made a third of all chunks new (`benches/backups.rs`).
pub(crate) const MEAN_CHUNK: usize = 32 << 10;
/// The longest chunk.
pub(crate) const MAX_CHUNK: usize = 256 << 10;

/// How a chunk's bytes stand in what is sealed.
const RAW: u8 = 0;
const ZSTD: u8 = 1;

/// The name of a chunk: the BLAKE3 digest of its plain bytes, keyed, so that who reads the store cannot tell whether it
/// holds what he knows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub(crate) struct ChunkId(#[cbor(with = "minicbor::bytes")] pub(crate) [u8; 32]);

/// A chunk as content refers to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct ChunkRef {
    #[n(0)]
    pub(crate) id: ChunkId,
    /// Of its plain bytes.
    #[n(1)]
    pub(crate) len: u32,
}

/// Why stored bytes are not the chunk that they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotTheChunk {
    #[error("it does not open with the repository's key: bytes have changed")]
    Seal,
    #[error("it does not decompress")]
    Compression,
    #[error("its bytes have another digest")]
    Digest,
}

impl std::fmt::Display for ChunkId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(blake3::Hash::from_bytes(self.0).to_hex().as_str())
    }
}

impl std::fmt::Debug for ChunkId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ChunkId({self})")
    }
}

/// Compresses, where that makes it smaller, seals, and appends that to `out`.
pub(crate) fn seal(
    keys: &Keys,
    compressor: &mut zstd::bulk::Compressor<'static>,
    id: &ChunkId,
    plain: &[u8],
    out: &mut Vec<u8>,
) {
    keys.seal(Place::Chunk(id), out, |out| {
        let start = out.len();
        // There is room for one byte less than the chunk has: where zstd needs more, the chunk stays as it is.
        out.resize(start + plain.len(), ZSTD);
        match compressor.compress_to_buffer(plain, &mut out[start + 1..]) {
            Ok(len) => out.truncate(start + 1 + len),
            Err(_) => {
                out.truncate(start);
                out.push(RAW);
                out.extend_from_slice(plain);
            }
        }
    });
}

/// Opens, decompresses and verifies a chunk; its plain bytes are appended to `out`.
pub(crate) fn open(
    keys: &Keys,
    decompressor: &mut zstd::bulk::Decompressor<'static>,
    chunk: &ChunkRef,
    sealed: &mut [u8],
    out: &mut Vec<u8>,
) -> Result<(), NotTheChunk> {
    let start = out.len();
    out.resize(start + chunk.len as usize, 0);
    open_into(keys, decompressor, chunk, sealed, &mut out[start..])
}

/// The same, to a place that is as long as the chunk.
pub(crate) fn open_into(
    keys: &Keys,
    decompressor: &mut zstd::bulk::Decompressor<'static>,
    chunk: &ChunkRef,
    sealed: &mut [u8],
    out: &mut [u8],
) -> Result<(), NotTheChunk> {
    let opened = keys.open(Place::Chunk(&chunk.id), sealed).ok_or(NotTheChunk::Seal)?;
    match opened.split_first() {
        Some((&RAW, plain)) if plain.len() == out.len() => out.copy_from_slice(plain),
        Some((&RAW, _)) => return Err(NotTheChunk::Digest),
        Some((&ZSTD, compressed)) => {
            let made = decompressor.decompress_to_buffer(compressed, out).map_err(|_| NotTheChunk::Compression)?;
            if made != out.len() {
                return Err(NotTheChunk::Digest);
            }
        }
        _ => return Err(NotTheChunk::Compression),
    }
    if keys.chunk_id(out) == chunk.id { Ok(()) } else { Err(NotTheChunk::Digest) }
}
