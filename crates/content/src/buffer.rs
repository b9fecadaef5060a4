//! Memory that is used again.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Buffers of one length. The first touch of fresh memory costs as much as copying it several times over, so that what
/// comes back is kept, up to a bound; how many are out at a time is bounded by how many streams there are.
#[derive(Clone)]
pub struct BufferPool(Arc<Inner>);

struct Inner {
    buffer_len: usize,
    keep: usize,
    idle: Mutex<Vec<Box<[u8]>>>,
}

/// A buffer of a pool, to which it goes back when it is dropped. What is in it is what its last user left.
pub struct Buffer {
    bytes: Box<[u8]>,
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
        let bytes = used.unwrap_or_else(|| vec![0; self.0.buffer_len].into_boxed_slice());
        Buffer { bytes, pool: self.clone() }
    }

    /// How many buffers nobody uses.
    pub fn idle(&self) -> usize {
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

// === impl Buffer ===

impl Buffer {
    /// Its first bytes, without copying. The buffer goes back to its pool with the last clone or slice of them.
    pub fn freeze(self, len: usize) -> Bytes {
        assert!(len <= self.bytes.len(), "a buffer holds no more than its length");
        Bytes::from_owner(Filled { buffer: self, len })
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        let mut idle = self.pool.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < self.pool.0.keep {
            idle.push(bytes);
        }
    }
}

impl AsRef<[u8]> for Filled {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.len]
    }
}
