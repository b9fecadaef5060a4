//! Where content is cut: FastCDC (Xia et al., 2020), with a table of this repository's own; or, where nothing comes again, as seldom as can be.

use std::borrow::Cow;

use bytes::Bytes;
use fastcdc::v2020::{Normalization, cut_gear, get_gear_with_seed, select_masks};
use mainstay_dataplane::Cut;

use crate::chunk::{MAX_CHUNK, MEAN_CHUNK, MIN_CHUNK};

/// What the rolling hash is made with.
#[derive(Clone)]
pub(crate) struct Gear {
    gear: Cow<'static, [u64]>,
    /// The same, shifted left by one: the algorithm looks at two bytes at a time.
    shifted: Cow<'static, [u64]>,
    /// Which bits of the hash must be zero before, and after, the mean length is reached.
    strict: u64,
    relaxed: u64,
}

/// Cuts a stream that comes piece by piece. What it cuts does not depend on the pieces.
pub(crate) struct Cutter {
    cut: Cut,
    /// The beginning of a chunk whose end is in no piece yet: less than the longest chunk.
    carry: Vec<u8>,
}

impl Gear {
    pub(crate) fn new(seed: u64) -> Self {
        let (gear, shifted) = get_gear_with_seed(seed);
        // The highest level keeps lengths closest to the mean: long chunks are what a changed page costs most in.
        let (strict, relaxed) = select_masks(MEAN_CHUNK, Normalization::Level3);
        Self { gear, shifted, strict, relaxed }
    }

    /// How long the first chunk of some bytes is. What comes after the longest chunk does not matter.
    fn first(&self, bytes: &[u8]) -> usize {
        let (strict, relaxed) = (self.strict, self.relaxed);
        let (gear, shifted) = (&self.gear, &self.shifted);
        cut_gear(bytes, MIN_CHUNK, MEAN_CHUNK, MAX_CHUNK, strict, relaxed, strict << 1, relaxed << 1, gear, shifted).1
    }
}

impl Cutter {
    pub(crate) fn new(cut: Cut) -> Self {
        Self { cut, carry: Vec::with_capacity(MAX_CHUNK) }
    }

    /// Hands on each chunk that ends in a piece.
    pub(crate) fn push(&mut self, gear: &Gear, piece: &Bytes, mut chunk: impl FnMut(Bytes)) {
        let mut at = 0;
        if !self.carry.is_empty() {
            let begun = self.carry.len();
            let room = (MAX_CHUNK - begun).min(piece.len());
            self.carry.extend_from_slice(&piece[..room]);
            if self.carry.len() < MAX_CHUNK {
                return;
            }
            let len = first(self.cut, gear, &self.carry);
            if len > begun {
                at = len - begun;
                self.carry.truncate(len);
                chunk(Bytes::copy_from_slice(&self.carry));
                self.carry.clear();
            } else {
                // The chunk ends in what was carried, and more may: it goes on as one piece.
                let rest = std::mem::replace(&mut self.carry, Vec::with_capacity(MAX_CHUNK));
                let mut rest = Bytes::from(rest);
                chunk(rest.split_to(len));
                self.carry.extend_from_slice(&rest[..begun - len]);
                return self.push(gear, piece, chunk);
            }
        }
        while piece.len() - at >= MAX_CHUNK {
            let len = first(self.cut, gear, &piece[at..at + MAX_CHUNK]);
            chunk(piece.slice(at..at + len));
            at += len;
        }
        self.carry.extend_from_slice(&piece[at..]);
    }

    /// Hands on what is left.
    pub(crate) fn finish(self, gear: &Gear, mut chunk: impl FnMut(Bytes)) {
        let (cut, mut rest) = (self.cut, Bytes::from(self.carry));
        while !rest.is_empty() {
            chunk(rest.split_to(first(cut, gear, &rest)));
        }
    }
}

/// How long the first chunk of some bytes is, which are as many as the longest has, or all that are left.
fn first(cut: Cut, gear: &Gear, bytes: &[u8]) -> usize {
    match cut {
        Cut::Fine => gear.first(bytes),
        Cut::Coarse => bytes.len().min(MAX_CHUNK),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use mainstay_dataplane::Cut;
    use proptest::prelude::*;

    use super::{Cutter, Gear};
    use crate::chunk::{MAX_CHUNK, MEAN_CHUNK, MIN_CHUNK};

    fn noise(len: usize) -> Bytes {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let mut draw = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        };
        (0..len).map(|_| draw()).collect::<Vec<u8>>().into()
    }

    fn chunks(cut: Cut, content: &Bytes, pieces: &[usize]) -> Vec<Bytes> {
        let gear = Gear::new(7);
        let (mut cutter, mut chunks, mut rest) = (Cutter::new(cut), Vec::new(), content.clone());
        for piece in pieces.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let piece = rest.split_to((*piece).min(rest.len()));
            cutter.push(&gear, &piece, |chunk| chunks.push(chunk));
        }
        cutter.finish(&gear, |chunk| chunks.push(chunk));
        chunks
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(30))]

        #[test]
        fn chunks_do_not_depend_on_the_pieces(len in 0usize..3_000_000, pieces in prop::collection::vec(1usize..700_000, 1..6)) {
            let content = noise(len);
            for (cut, least) in [(Cut::Fine, MIN_CHUNK), (Cut::Coarse, MAX_CHUNK)] {
                let found = chunks(cut, &content, &pieces);
                prop_assert!(found.concat() == content);
                prop_assert!(found == chunks(cut, &content, &[usize::MAX]));
                for (number, chunk) in found.iter().enumerate() {
                    prop_assert!(chunk.len() <= MAX_CHUNK);
                    prop_assert!(chunk.len() >= least || number + 1 == found.len());
                }
            }
        }
    }

    #[test]
    fn chunks_are_as_long_as_they_should_be_on_the_average() {
        let chunks = chunks(Cut::Fine, &noise(30_000_000), &[4 << 20]);
        let mean = 30_000_000 / chunks.len();
        assert!((MEAN_CHUNK * 3 / 4..MEAN_CHUNK * 3 / 2).contains(&mean), "{mean}");
    }
}
