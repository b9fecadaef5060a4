//! Compressors that are used again: making one costs more than a chunk.

use std::sync::{Mutex, PoisonError};

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::CParameter;

/// The level of zstd: the fastest of its usual ones, since nothing in a first backup takes longer than compressing.
pub(crate) const ZSTD_LEVEL: i32 = 1;

/// The shortest repetition that is looked for. The level would have 6 bytes or 7. Rows of databases repeat shorter ones: a table
/// of pgbench's gets a third smaller by this, its index, source texts and programs stay within 2 %, and it takes no longer.
const ZSTD_MIN_MATCH: u32 = 5;

#[derive(Default)]
pub(crate) struct Workshop {
    compressors: Mutex<Vec<Compressor<'static>>>,
    decompressors: Mutex<Vec<Decompressor<'static>>>,
}

impl Workshop {
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
