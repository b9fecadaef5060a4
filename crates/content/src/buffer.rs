//! Memory that is used again.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// What memory begins at a multiple of, and comes in multiples of, to be written past the page cache: no file system asks
/// for more.
pub const PAGE: usize = 4096;

/// Buffers of one length, each at the beginning of a page. The first touch of fresh memory costs as much as copying it several times over, so that what
/// comes back is kept, up to a bound; how many are out at a time is bounded by how many streams there are.
#[derive(Clone)]
pub struct BufferPool(Arc<Inner>);

struct Inner {
    buffer_len: usize,
    keep: usize,
    idle: Mutex<Vec<Pages>>,
}

/// Memory that begins at a page.
#[derive(Default)]
struct Pages {
    memory: Box<[u8]>,
    start: usize,
}

/// A buffer of a pool, to which it goes back when it is dropped. What is in it is what its last user left.
pub struct Buffer {
    pages: Pages,
    pool: BufferPool,
}

/// The beginning of a buffer.
struct Filled {
    buffer: Buffer,
    len: usize,
}

// === impl BufferPool ===

impl BufferPool {
    /// Buffers of `buffer_len` bytes, of which `keep` are kept while nobody uses them.
    pub fn new(buffer_len: usize, keep: usize) -> Self {
        Self(Arc::new(Inner { buffer_len, keep, idle: Mutex::new(Vec::with_capacity(keep)) }))
    }

    /// Of each buffer, in bytes.
    pub fn buffer_len(&self) -> usize {
        self.0.buffer_len
    }

    /// A buffer, a used one where there is any.
    pub fn take(&self) -> Buffer {
        let used = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Buffer { pages: used.unwrap_or_else(|| Pages::new(self.0.buffer_len)), pool: self.clone() }
    }

    /// How many buffers nobody uses.
    pub fn idle(&self) -> usize {
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Pages {
    fn new(len: usize) -> Self {
        let memory = vec![0; len + PAGE].into_boxed_slice();
        let start = memory.as_ptr().align_offset(PAGE);
        Self { memory, start }
    }
}

// === impl Buffer ===

impl Buffer {
    /// Its first bytes, without copying. The buffer goes back to its pool with the last clone or slice of them.
    pub fn freeze(self, len: usize) -> Bytes {
        assert!(len <= self.len(), "a buffer holds no more than its length");
        Bytes::from_owner(Filled { buffer: self, len })
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.pages.memory[self.pages.start..][..self.pool.0.buffer_len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.pages.memory[self.pages.start..][..self.pool.0.buffer_len]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let pages = std::mem::take(&mut self.pages);
        let mut idle = self.pool.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < self.pool.0.keep {
            idle.push(pages);
        }
    }
}

impl AsRef<[u8]> for Filled {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.len]
    }
}
