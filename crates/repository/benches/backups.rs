//! How fast backups go in and come out: pages like a database's, twice, the second time with some of them changed.
//!
//! `MAINSTAY_BENCH_MIB` says how much (1024).

use std::time::Instant;

use bytes::Bytes;
use futures::{StreamExt, stream};
use mainstay_dataplane::{Body, DataPlane, Hints, Owner, Receipt, Serve};
use mainstay_repository::{Config, Credentials, RecoveryKey, Repository, VerifyOptions};

const PAGE: usize = 8192;

/// One page of so many is another one in the second backup.
const CHANGED: u64 = 50;

type Failed = Box<dyn std::error::Error>;

fn main() -> Result<(), Failed> {
    let mib: usize = std::env::var("MAINSTAY_BENCH_MIB").ok().and_then(|text| text.parse().ok()).unwrap_or(1024);
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run(mib))
}

async fn run(mib: usize) -> Result<(), Failed> {
    let pages = mib * (1 << 20) / PAGE;
    let mut content: Vec<u8> = Vec::with_capacity(pages * PAGE);
    (0..pages as u64).for_each(|number| page(number, 0, &mut content));
    let mut changed = content.clone();
    let mut state = 1;
    let mut count = 0;
    for number in 0..pages as u64 {
        state = next(state);
        if state.is_multiple_of(CHANGED) {
            let mut other = Vec::with_capacity(PAGE);
            page(number, 1, &mut other);
            changed[number as usize * PAGE..][..PAGE].copy_from_slice(&other);
            count += 1;
        }
    }
    let (content, changed) = (Bytes::from(content), Bytes::from(changed));
    println!("{mib} MiB, {count} of {pages} pages changed");

    let directory = tempfile::tempdir_in(std::env::var("MAINSTAY_BENCH_DIR").unwrap_or_else(|_| "/tmp".into()))?;
    let location = directory.path().to_str().ok_or("the directory is not UTF-8")?.parse()?;
    let repository = Repository::create(Config::new(location, Credentials::None), &RecoveryKey::draw()?).await?;
    let first = ingest("first backup", &repository, &content).await?;
    let before = repository.statistics();
    let second = ingest("second backup", &repository, &changed).await?;
    let after = repository.statistics();
    let added = after.stored_bytes - before.stored_bytes;
    println!(
        "stored {:.1} % of the first, the second adds {:.1} % of that; {} chunks of {} bytes, {} bytes of index for each",
        percent(before.stored_bytes, content.len() as u64),
        percent(added, before.stored_bytes),
        before.chunks,
        content.len() as u64 / before.chunks,
        after.index_memory_bytes / after.chunks
    );
    for receipt in [first, second] {
        let begun = Instant::now();
        let served = repository.serve_object(Serve { address: receipt.address, range: None, key: None }).await?;
        let Body::Stream(mut stream) = served.body else { return Err("it should be a stream".into()) };
        while let Some(bytes) = stream.next().await {
            bytes?;
        }
        report("restore", receipt.size, begun);
    }
    let begun = Instant::now();
    let read = repository.verify(VerifyOptions::default(), |_| ()).await?;
    report("verification, of stored bytes", read.bytes, begun);
    println!("of the memory {} MiB are the contents", 2 * mib);
    Ok(())
}

async fn ingest(what: &str, repository: &Repository, content: &Bytes) -> Result<Receipt, Failed> {
    let chunks: Vec<_> = content.chunks(1 << 20).map(|chunk| Ok(content.slice_ref(chunk))).collect();
    let begun = Instant::now();
    let receipt = repository.ingest_stream(Box::pin(stream::iter(chunks)), Hints::plain(Owner::Backups)).await?;
    report(what, receipt.size, begun);
    Ok(receipt)
}

/// Like a page of a table: a head, free room, and rows of numbers, words and random bytes.
fn page(number: u64, version: u64, out: &mut Vec<u8>) {
    let start = out.len();
    let mut state = next(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ version << 40 | 1);
    out.extend_from_slice(&number.to_le_bytes());
    out.extend_from_slice(&[0; 700]);
    while out.len() - start < PAGE - 128 {
        state = next(state);
        out.extend_from_slice(&[0x12, 0, 0, 0, 3, 8, 24, 0]);
        out.extend_from_slice(&(number * 61 + (out.len() - start) as u64 / 128).to_le_bytes());
        out.extend_from_slice(&(state as u32 % 100_000).to_le_bytes());
        out.extend_from_slice(&state.to_le_bytes());
        out.extend_from_slice(b"                                                                                    ");
        out.extend_from_slice(&next(state).to_le_bytes());
    }
    out.resize(start + PAGE, 0);
}

fn next(state: u64) -> u64 {
    let state = state ^ state << 13;
    let state = state ^ state >> 7;
    state ^ state << 17
}

fn percent(part: u64, whole: u64) -> f64 {
    100.0 * part as f64 / whole as f64
}

fn report(what: &str, bytes: u64, begun: Instant) {
    let speed = bytes as f64 / 1e6 / begun.elapsed().as_secs_f64();
    println!("{what}: {speed:.0} MB/s; at most {} MiB of memory until then", peak_mib());
}

fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) / 1024
}
