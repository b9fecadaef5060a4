//! Several streams' blocks side by side.
//!
//! Each operation of the algorithm is written for an array of words, one of each stream, which the compiler makes one
//! instruction on a register of 512 bits. On processors without such registers nothing is gained, and nothing is done.

use super::{BLOCK, State};

/// Streams side by side: the words of a register.
pub(super) const LANES: usize = 16;

/// Fewer streams are faster one after another.
pub(super) const WORTH_IT: usize = 4;

/// One word of each stream.
type Words = [u32; LANES];

/// The constants of the steps: the binary fractions of sines (RFC 1321, 3.4).
const SINES: [u32; 64] = [
    0xd76a_a478,
    0xe8c7_b756,
    0x2420_70db,
    0xc1bd_ceee,
    0xf57c_0faf,
    0x4787_c62a,
    0xa830_4613,
    0xfd46_9501,
    0x6980_98d8,
    0x8b44_f7af,
    0xffff_5bb1,
    0x895c_d7be,
    0x6b90_1122,
    0xfd98_7193,
    0xa679_438e,
    0x49b4_0821,
    0xf61e_2562,
    0xc040_b340,
    0x265e_5a51,
    0xe9b6_c7aa,
    0xd62f_105d,
    0x0244_1453,
    0xd8a1_e681,
    0xe7d3_fbc8,
    0x21e1_cde6,
    0xc337_07d6,
    0xf4d5_0d87,
    0x455a_14ed,
    0xa9e3_e905,
    0xfcef_a3f8,
    0x676f_02d9,
    0x8d2a_4c8a,
    0xfffa_3942,
    0x8771_f681,
    0x6d9d_6122,
    0xfde5_380c,
    0xa4be_ea44,
    0x4bde_cfa9,
    0xf6bb_4b60,
    0xbebf_bc70,
    0x289b_7ec6,
    0xeaa1_27fa,
    0xd4ef_3085,
    0x0488_1d05,
    0xd9d4_d039,
    0xe6db_99e5,
    0x1fa2_7cf8,
    0xc4ac_5665,
    0xf429_2244,
    0x432a_ff97,
    0xab94_23a7,
    0xfc93_a039,
    0x655b_59c3,
    0x8f0c_cc92,
    0xffef_f47d,
    0x8584_5dd1,
    0x6fa8_7e4f,
    0xfe2c_e6e0,
    0xa301_4314,
    0x4e08_11a1,
    0xf753_7e82,
    0xbd3a_f235,
    0x2ad7_d2bb,
    0xeb86_d391,
];

/// How far each step of a round turns its word; four steps, again and again.
const TURNS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];

/// Hashes as many blocks of each stream, at most [`LANES`] of them.
pub(super) fn run(streams: &mut [(&mut State, &[u8])]) {
    let mut state = [[0; LANES]; 4];
    for (lane, (before, _)) in streams.iter().enumerate() {
        for (words, word) in state.iter_mut().zip(**before) {
            words[lane] = word;
        }
    }
    let inputs: Vec<&[u8]> = streams.iter().map(|(_, blocks)| *blocks).collect();
    compress_wide(&mut state, &inputs);
    for (lane, (after, _)) in streams.iter_mut().enumerate() {
        **after = state.map(|words| words[lane]);
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) fn is_wide() -> bool {
    std::arch::is_x86_feature_detected!("avx512f")
}

#[cfg(not(target_arch = "x86_64"))]
pub(super) fn is_wide() -> bool {
    false
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
fn compress_wide(state: &mut [Words; 4], inputs: &[&[u8]]) {
    #[target_feature(enable = "avx512f")]
    fn with_avx512(state: &mut [Words; 4], inputs: &[&[u8]]) {
        compress(state, inputs);
    }
    assert!(is_wide(), "only wide processors are asked");
    // SAFETY: the function is safe but for the instructions that it is compiled to, and this processor has them.
    unsafe { with_avx512(state, inputs) }
}

#[cfg(not(target_arch = "x86_64"))]
fn compress_wide(state: &mut [Words; 4], inputs: &[&[u8]]) {
    compress(state, inputs);
}

/// Hashes inputs of one length, which is one of whole blocks. Lanes without one hash zeros, for nobody.
#[inline(always)]
fn compress(state: &mut [Words; 4], inputs: &[&[u8]]) {
    let mut message = [[0; LANES]; BLOCK / 4];
    for block in 0..inputs[0].len() / BLOCK {
        for (lane, input) in inputs.iter().enumerate() {
            let (words, _) = input[block * BLOCK..(block + 1) * BLOCK].as_chunks::<4>();
            for (row, word) in message.iter_mut().zip(words) {
                row[lane] = u32::from_le_bytes(*word);
            }
        }
        let before = *state;
        round::<0>(state, &message, |b, c, d| d ^ (b & (c ^ d)), |step| step);
        round::<1>(state, &message, |b, c, d| c ^ (d & (b ^ c)), |step| (5 * step + 1) % 16);
        round::<2>(state, &message, |b, c, d| b ^ c ^ d, |step| (3 * step + 5) % 16);
        round::<3>(state, &message, |b, c, d| c ^ (b | !d), |step| (7 * step) % 16);
        for (words, before) in state.iter_mut().zip(before) {
            for lane in 0..LANES {
                words[lane] = words[lane].wrapping_add(before[lane]);
            }
        }
    }
}

/// The 16 steps of a round (RFC 1321, 3.4).
#[inline(always)]
fn round<const ROUND: usize>(
    state: &mut [Words; 4],
    message: &[Words; 16],
    mix: impl Fn(u32, u32, u32) -> u32,
    word: impl Fn(usize) -> usize,
) {
    let [mut a, mut b, mut c, mut d] = *state;
    for step in 0..16 {
        let sine = SINES[16 * ROUND + step];
        let turn = TURNS[ROUND][step % 4];
        let row = &message[word(step)];
        let mut next = [0; LANES];
        for lane in 0..LANES {
            let mixed = mix(b[lane], c[lane], d[lane]);
            let sum = a[lane].wrapping_add(sine).wrapping_add(row[lane]).wrapping_add(mixed);
            next[lane] = b[lane].wrapping_add(sum.rotate_left(turn));
        }
        (a, d, c, b) = (d, c, b, next);
    }
    *state = [a, b, c, d];
}
