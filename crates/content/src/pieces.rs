//! Streams in pieces of one length.

use bytes::Bytes;
use futures::StreamExt;
use mainstay_dataplane::{Source, SourceError};

use crate::BufferPool;

/// Cuts a source into pieces as long as a pool's buffers; only the last may be shorter. It holds one piece at a time, and
/// whatever the source gave last.
pub struct Pieces {
    source: Source,
    pool: BufferPool,
    /// What the source gave and no piece has taken yet.
    rest: Bytes,
    ended: bool,
}

impl Pieces {
    pub fn new(source: Source, pool: BufferPool) -> Self {
        Self { source, pool, rest: Bytes::new(), ended: false }
    }

    /// The next piece, never an empty one; none at the end of the source.
    pub async fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        let len = self.pool.buffer_len();
        let Some(first) = self.bytes().await? else { return Ok(None) };
        // Content that came at once is not copied: most small objects are such.
        if first.len() >= len {
            return Ok(Some(self.put_back_after(first, len)));
        }
        let Some(second) = self.bytes().await? else { return Ok(Some(first)) };
        let mut buffer = self.pool.take();
        let mut filled = first.len();
        buffer[..filled].copy_from_slice(&first);
        let mut next = Some(second);
        while let Some(bytes) = next {
            let now = self.put_back_after(bytes, len - filled);
            buffer[filled..filled + now.len()].copy_from_slice(&now);
            filled += now.len();
            if filled == len {
                break;
            }
            next = self.bytes().await?;
        }
        Ok(Some(buffer.freeze(filled)))
    }

    /// At most `len` bytes; the rest waits for the next piece.
    fn put_back_after(&mut self, mut bytes: Bytes, len: usize) -> Bytes {
        if bytes.len() > len {
            self.rest = bytes.split_off(len);
        }
        bytes
    }

    async fn bytes(&mut self) -> Result<Option<Bytes>, SourceError> {
        if !self.rest.is_empty() {
            return Ok(Some(std::mem::take(&mut self.rest)));
        }
        while !self.ended {
            match self.source.next().await {
                Some(bytes) => {
                    let bytes = bytes?;
                    if !bytes.is_empty() {
                        return Ok(Some(bytes));
                    }
                }
                None => self.ended = true,
            }
        }
        Ok(None)
    }
}
