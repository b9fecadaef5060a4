//! Compressors and memory that are used again: making a compressor costs more than a chunk, and the first touch of fresh memory
//! more than to decompress into it.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use mainstay_content::BufferPool;
use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::CParameter;

/// The level of zstd: the fastest of its usual ones, since nothing in a first backup takes longer than compressing.
pub(crate) const ZSTD_LEVEL: i32 = 1;

/// The shortest repetition that is looked for. The level would have 6 bytes or 7. Rows of databases repeat shorter ones: a table
/// of pgbench's gets a third smaller by this, its index, source texts and programs stay within 2 %, and it takes no longer.
const ZSTD_MIN_MATCH: u32 = 5;

pub(crate) struct Workshop {
    compressors: Mutex<Vec<Compressor<'static>>>,
    decompressors: Mutex<Vec<Decompressor<'static>>>,
    runs: BufferPool,
}

impl Workshop {
    /// A workshop with memory for runs of content of so many bytes at most, of which some are kept while nobody reads.
    pub(crate) fn new(run: usize, keep: usize) -> Self {
        let (compressors, decompressors) = (Mutex::default(), Mutex::default());
        Self { compressors, decompressors, runs: BufferPool::new(run, keep) }
    }

    /// What is written to memory of some length, which tells how much of it is filled. Little content has memory of its own: it
    /// may be kept for long.
    pub(crate) fn fill<E>(&self, len: usize, write: impl FnOnce(&mut [u8]) -> Result<usize, E>) -> Result<Bytes, E> {
        let run = self.runs.buffer_len();
        if !(run / 2..=run).contains(&len) {
            let mut memory = vec![0; len];
            let filled = write(&mut memory)?;
            memory.truncate(filled);
            return Ok(memory.into());
        }
        let mut memory = self.runs.take();
        let filled = write(&mut memory)?;
        Ok(memory.freeze(filled))
    }

    pub(crate) fn compress<T>(&self, work: impl FnOnce(&mut Compressor<'static>) -> T) -> T {
        lend(&self.compressors, compressor, work)
    }

    pub(crate) fn decompress<T>(&self, work: impl FnOnce(&mut Decompressor<'static>) -> T) -> T {
        lend(&self.decompressors, || Decompressor::new().expect("zstd makes a decompressor without a dictionary"), work)
    }
}

fn compressor() -> Compressor<'static> {
    let mut compressor = Compressor::new(ZSTD_LEVEL).expect("zstd knows its levels");
    compressor.set_parameter(CParameter::MinMatch(ZSTD_MIN_MATCH)).expect("zstd takes matches of 3 to 7 bytes");
    compressor
}

/// As many are made as work at the same time.
fn lend<T, R>(shelf: &Mutex<Vec<T>>, make: impl FnOnce() -> T, work: impl FnOnce(&mut T) -> R) -> R {
    let idle = shelf.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let mut tool = idle.unwrap_or_else(make);
    let done = work(&mut tool);
    shelf.lock().unwrap_or_else(PoisonError::into_inner).push(tool);
    done
}
