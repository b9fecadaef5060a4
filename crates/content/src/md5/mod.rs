//! MD5, which costs more than all other digests together.
//!
//! One stream's MD5 cannot be hashed faster than its blocks follow one another. Several streams' can: their blocks go
//! side by side through the lanes of wide registers ([`lanes`]). So the pieces of streams that are in work at the same
//! time wait in one line for a few threads, which take as many as have gathered ([`crew`]).

mod crew;
mod lanes;

use mainstay_dataplane::Md5;
use md5::block_api::compress;

pub(crate) use crew::hash;

/// Bytes of a block.
const BLOCK: usize = 64;

/// Where the length of the content begins in the last block (RFC 1321, 3.2).
const LENGTH_AT: usize = 56;

/// What hashing begins with (RFC 1321, 3.3).
const BEGINNING: State = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

type State = [u32; 4];

/// MD5 piece by piece.
pub(crate) struct Md5Hasher {
    state: State,
    /// Bytes that were hashed, with those in `rest`.
    len: u64,
    /// Its first `len % BLOCK` bytes make no block yet.
    rest: [u8; BLOCK],
}

impl Md5Hasher {
    pub(crate) fn new() -> Self {
        Self { state: BEGINNING, len: 0, rest: [0; BLOCK] }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        let bytes = self.complete_block(bytes);
        let rest = self.blocks(bytes);
        self.begin_block(rest);
    }

    pub(crate) fn finish(mut self) -> Md5 {
        let filled = (self.len % BLOCK as u64) as usize;
        self.rest[filled] = 0x80;
        self.rest[filled + 1..].fill(0);
        if filled >= LENGTH_AT {
            compress(&mut self.state, &[self.rest]);
            self.rest.fill(0);
        }
        self.rest[LENGTH_AT..].copy_from_slice(&self.len.wrapping_mul(8).to_le_bytes());
        compress(&mut self.state, &[self.rest]);
        let mut digest = [0; 16];
        for (bytes, word) in digest.chunks_exact_mut(4).zip(self.state) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        Md5(digest)
    }

    /// Completes the block that was begun, and gives what comes after it.
    fn complete_block<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let filled = (self.len % BLOCK as u64) as usize;
        if filled == 0 {
            return bytes;
        }
        let (now, later) = bytes.split_at(bytes.len().min(BLOCK - filled));
        self.rest[filled..filled + now.len()].copy_from_slice(now);
        self.len += now.len() as u64;
        if filled + now.len() == BLOCK {
            compress(&mut self.state, &[self.rest]);
        }
        later
    }

    /// Hashes whole blocks where no block was begun, and gives what makes none.
    fn blocks<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let (blocks, rest) = bytes.as_chunks::<BLOCK>();
        compress(&mut self.state, blocks);
        self.len += blocks.as_flattened().len() as u64;
        rest
    }

    /// Begins a block, where there is something to begin one with.
    fn begin_block(&mut self, rest: &[u8]) {
        self.rest[..rest.len()].copy_from_slice(rest);
        self.len += rest.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use md5::Digest as _;

    use bytes::Bytes;

    use super::{Md5Hasher, hash};

    fn of(bytes: &[u8]) -> [u8; 16] {
        md5::Md5::digest(bytes).into()
    }

    fn bytes(seed: usize, len: usize) -> Bytes {
        (0..len).map(|n| (n * 7 + seed * 13 + n / 251) as u8).collect::<Vec<u8>>().into()
    }

    #[test]
    fn it_is_md5_at_every_length_and_cut() {
        for len in 0..300 {
            let bytes = bytes(1, len);
            for cut in [0, 1, len / 3, len / 2, 63, 64, 65, len] {
                let (now, later) = bytes.split_at(cut.min(len));
                let mut hasher = Md5Hasher::new();
                hasher.update(now);
                hasher.update(later);
                assert_eq!(hasher.finish().0, of(&bytes), "{len} bytes, cut at {cut}");
            }
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(50))]

        #[test]
        fn streams_side_by_side_do_not_mix(lens in proptest::collection::vec((0usize..300_000, 0usize..5000), 0..40)) {
            let contents: Vec<_> = lens.iter().enumerate().map(|(seed, (a, b))| bytes(seed, a + b)).collect();
            let mut hashers: Vec<_> = contents.iter().map(|_| Md5Hasher::new()).collect();
            for second in [false, true] {
                let pieces = contents.iter().zip(&lens).map(|(content, (first, _))| {
                    if second { content.slice(first..) } else { content.slice(..*first) }
                });
                let going: Vec<_> = hashers.drain(..).zip(pieces).map(|(hasher, piece)| hash(hasher, piece)).collect();
                hashers = going.into_iter().map(|hashed| hashed.blocking_recv().unwrap()).collect();
            }
            for (hasher, content) in hashers.into_iter().zip(&contents) {
                assert_eq!(hasher.finish().0, of(content));
            }
        }
    }
}
