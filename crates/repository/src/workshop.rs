//! Compressors that are used again: making one costs more than a chunk.

use std::sync::{Mutex, PoisonError};

use zstd::bulk::{Compressor, Decompressor};

/// The level of zstd: the fastest of its usual ones, since nothing in a first backup takes longer than compressing.
pub(crate) const ZSTD_LEVEL: i32 = 1;

#[derive(Default)]
pub(crate) struct Workshop {
    compressors: Mutex<Vec<Compressor<'static>>>,
    decompressors: Mutex<Vec<Decompressor<'static>>>,
}

impl Workshop {
    pub(crate) fn compress<T>(&self, work: impl FnOnce(&mut Compressor<'static>) -> T) -> T {
        lend(&self.compressors, || Compressor::new(ZSTD_LEVEL).expect("zstd knows its levels"), work)
    }

    pub(crate) fn decompress<T>(&self, work: impl FnOnce(&mut Decompressor<'static>) -> T) -> T {
        lend(&self.decompressors, || Decompressor::new().expect("zstd makes a decompressor without a dictionary"), work)
    }
}

/// As many are made as work at the same time.
fn lend<T, R>(shelf: &Mutex<Vec<T>>, make: impl FnOnce() -> T, work: impl FnOnce(&mut T) -> R) -> R {
    let idle = shelf.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let mut tool = idle.unwrap_or_else(make);
    let done = work(&mut tool);
    shelf.lock().unwrap_or_else(PoisonError::into_inner).push(tool);
    done
}
