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
        if first.len() <= len {
            match self.bytes().await? {
                Some(second) => self.rest = second,
                // Content that came at once is not copied: most small objects are such.
                None => return Ok(Some(first)),
            }
        }
        // What is one piece of many is copied into pages, from which it gets to the disk faster than it was copied.
        let mut buffer = self.pool.take();
        let (mut filled, mut next) = (0, Some(first));
        while let Some(mut bytes) = next {
            let now = bytes.len().min(len - filled);
            let left = bytes.split_off(now);
            buffer[filled..filled + now].copy_from_slice(&bytes);
            filled += now;
            if !left.is_empty() {
                self.rest = left;
            }
            if filled == len {
                break;
            }
            // Its memory may be what the source is waiting for.
            drop(bytes);
            next = self.bytes().await?;
        }
        Ok(Some(buffer.freeze(filled)))
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
