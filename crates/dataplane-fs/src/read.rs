//! Reading: on the caller's thread what the system has in memory, on another what the disk has to bring.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use mainstay_content::BufferPool;
use mainstay_dataplane::Trouble;
use rustix::io::{Errno, ReadWriteFlags, preadv2};

use crate::store::blocking;

/// Bytes up to which memory comes from the allocator, which has it at hand; beyond, it would ask the system, and fresh
/// memory is slow.
const ALLOCATED_UP_TO: usize = 64 << 10;

/// Why bytes were not read.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// The file ends before them.
    Short,
    Io(io::Error),
    Trouble(Trouble),
}

/// Where bytes are read from, and what they are read into.
#[derive(Clone)]
pub(crate) struct Readable {
    pub file: Arc<File>,
    pub pool: BufferPool,
}

enum Memory {
    Allocated(Vec<u8>),
    Pooled(mainstay_content::Buffer, usize),
}

impl Readable {
    /// Reads bytes wherever they are.
    pub(crate) async fn read(&self, offset: u64, len: usize) -> Result<Bytes, ReadError> {
        let mut memory = Memory::new(len, &self.pool);
        match self.read_now(offset, memory.bytes()) {
            Some(result) => result?,
            None => {
                let readable = self.clone();
                return blocking(move || {
                    readable.file.read_exact_at(memory.bytes(), offset)?;
                    Ok(memory.freeze())
                })
                .await
                .map_err(ReadError::Trouble)?;
            }
        }
        Ok(memory.freeze())
    }

    /// Reads bytes from the disk: what the system has in memory of them is forgotten first, as far as it can be.
    pub(crate) fn read_from_disk(&self, offset: u64, len: usize) -> Result<Bytes, ReadError> {
        let advised = std::num::NonZeroU64::new(len as u64);
        let _ = rustix::fs::fadvise(&self.file, offset, advised, rustix::fs::Advice::DontNeed);
        let mut memory = Memory::new(len, &self.pool);
        self.file.read_exact_at(memory.bytes(), offset)?;
        Ok(memory.freeze())
    }

    /// Fills the bytes if the system has all of them in memory.
    fn read_now(&self, mut offset: u64, mut bytes: &mut [u8]) -> Option<Result<(), ReadError>> {
        while !bytes.is_empty() {
            match preadv2(&self.file, &mut [IoSliceMut::new(bytes)], offset, ReadWriteFlags::NOWAIT) {
                Ok(0) => return Some(Err(ReadError::Short)),
                Ok(read) => {
                    offset += read as u64;
                    bytes = &mut bytes[read..];
                }
                Err(Errno::INTR) => {}
                // It would wait for the disk, or the file system cannot tell.
                Err(Errno::AGAIN | Errno::OPNOTSUPP) => return None,
                Err(error) => return Some(Err(io::Error::from(error).into())),
            }
        }
        Some(Ok(()))
    }
}

impl Memory {
    fn new(len: usize, pool: &BufferPool) -> Self {
        if len <= ALLOCATED_UP_TO || len > pool.buffer_len() {
            return Self::Allocated(vec![0; len]);
        }
        Self::Pooled(pool.take(), len)
    }

    fn bytes(&mut self) -> &mut [u8] {
        match self {
            Self::Allocated(bytes) => bytes,
            Self::Pooled(buffer, len) => &mut buffer[..*len],
        }
    }

    fn freeze(self) -> Bytes {
        match self {
            Self::Allocated(bytes) => bytes.into(),
            Self::Pooled(buffer, len) => buffer.freeze(len),
        }
    }
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof { Self::Short } else { Self::Io(error) }
    }
}
