//! Chance that can be repeated: each run prints its seed, and `MAINSTAY_SEED` makes it run the same way again.

use std::ops::Range;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Numbers that follow from a seed (SplitMix64, by Steele, Lea and Flood).
#[derive(Debug)]
pub struct Chance {
    state: u64,
}

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// One of the numbers of a range.
    pub fn pick(&mut self, from: Range<u64>) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        from.start + (mixed ^ (mixed >> 31)) % (from.end - from.start)
    }
}

/// Runs something with as many seeds, or with the one of `MAINSTAY_SEED` alone.
pub fn with_seeds(count: u64, mut run: impl FnMut(u64)) {
    match std::env::var("MAINSTAY_SEED") {
        Ok(seed) => announced(seed.parse().expect("MAINSTAY_SEED is a number"), &mut run),
        Err(_) => (0..count).for_each(|_| announced(new_seed(), &mut run)),
    }
}

/// Runs something with one seed after the other until `MAINSTAY_SOAK_MINUTES` have passed; not at all without it.
pub fn soak(mut run: impl FnMut(u64)) {
    let Ok(minutes) = std::env::var("MAINSTAY_SOAK_MINUTES") else { return };
    let minutes: u64 = minutes.parse().expect("MAINSTAY_SOAK_MINUTES is a number");
    let end = Instant::now() + Duration::from_secs(60 * minutes);
    let mut rounds = 0;
    while Instant::now() < end {
        with_seeds(1, &mut run);
        rounds += 1;
    }
    println!("{rounds} rounds in {minutes} minutes");
}

fn announced(seed: u64, run: &mut impl FnMut(u64)) {
    println!("MAINSTAY_SEED={seed}");
    run(seed);
}

fn new_seed() -> u64 {
    // Short enough to be typed, and another one each time.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_micros() as u64 % 1_000_000_000
}
