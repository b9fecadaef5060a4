//! What the machine itself can do, measured in the same run.

use std::fs::OpenOptions;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use md5::Digest as _;

const WINDOW: Duration = Duration::from_millis(500);
const PIECE: usize = 1 << 20;

pub fn print() {
    let piece = vec![7u8; PIECE];
    println!("limits of this machine, one thread each:");
    println!("  BLAKE3    {:>8.0} MB/s", speed(|| blake3::hash(&piece)));
    println!("  SHA-256   {:>8.0} MB/s", speed(|| digest(&SHA256, &piece)));
    println!("  MD5       {:>8.0} MB/s", speed(|| md5::Md5::digest(&piece)));
    println!("  4 KiB appended to a file that has room, and synced: {:.0}/s", appends());
}

fn speed<T>(mut work: impl FnMut() -> T) -> f64 {
    black_box(work());
    let started = Instant::now();
    let mut times = 0;
    while started.elapsed() < WINDOW {
        black_box(work());
        times += 1;
    }
    f64::from(times) * PIECE as f64 / 1e6 / started.elapsed().as_secs_f64()
}

fn appends() -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let file = OpenOptions::new().write(true).create_new(true).open(folder.path().join("log")).unwrap();
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, 64 << 20).unwrap();
    let started = Instant::now();
    let mut times = 0u64;
    while started.elapsed() < WINDOW {
        file.write_all_at(&[7; 4096], times * 4096 % (64 << 20)).unwrap();
        file.sync_data().unwrap();
        times += 1;
    }
    times as f64 / started.elapsed().as_secs_f64()
}
