//! Figures of the content store, beside what the same disk and processor do bare in the same run.
//!
//! `cargo bench -p mainstay-dataplane-fs` fills a store with a million contents; `-- --quick` with a hundred thousand.
//! `MAINSTAY_BENCH_DIR` names the directory whose disk is measured; it is the current one otherwise.

#![allow(clippy::unwrap_used, reason = "a benchmark that fails stops")]

use std::fs::{File, OpenOptions};
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{StreamExt, stream};
use mainstay_content::{Digester, digest};
use mainstay_dataplane::{Address, Body, DataPlane, Hints, Inventory, Owner, Serve, Source};
use mainstay_dataplane_fs::{FsConfig, FsPlane};

/// How long a rate is measured.
const MEASURED: Duration = Duration::from_secs(3);

const SMALL: usize = 4096;
const LARGE: usize = 64 << 20;

/// What a client of S3 sends at a time.
const CHUNK: usize = 64 << 10;

/// Contents that are read again and again where hot reading is measured.
const HOT: u64 = 4096;

/// Tasks that fill the store.
const FILLING: u64 = 32;

#[tokio::main]
async fn main() {
    tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).init();
    let quick = std::env::args().any(|argument| argument == "--quick");
    let parent = std::env::var_os("MAINSTAY_BENCH_DIR").unwrap_or_else(|| ".".into());
    let directory = tempfile::tempdir_in(parent).unwrap();
    let contents: u64 = if quick { 100_000 } else { 1_000_000 };
    limits(directory.path());

    let place = directory.path().join("store");
    let mut seeds = Seeds::default();
    let plane = FsPlane::open(&place, FsConfig::default()).await.unwrap();
    if !std::env::args().any(|argument| argument == "--fill") {
        rates(&plane, &mut seeds).await;
    }
    plane.close().await;

    let plane = FsPlane::open(&place, FsConfig::default()).await.unwrap();
    let first = seeds.next;
    filled(&plane, &mut seeds, contents).await;
    println!("most memory so far (VmHWM)          {:>9} MiB", peak_memory());
    for tasks in [1, 8] {
        let rate = served(&plane, tasks, first..first + HOT).await;
        println!("serve 4 KiB, hot, {tasks} tasks           {rate:>9.0} /s");
        let rate = served(&plane, tasks, first..first + contents).await;
        println!("serve 4 KiB, any of {contents}, {tasks} tasks {rate:>7.0} /s");
    }
    plane.close().await;
    starts(&place).await;
}

/// Rates of single operations, on a store that is emptied afterwards.
async fn rates(plane: &FsPlane, seeds: &mut Seeds) {
    for tasks in [1, 8, 32] {
        let rate = ingest(plane, seeds, tasks, SMALL, false).await;
        println!("ingest 4 KiB, durable, {tasks:>2} tasks     {:>9.0} /s", rate);
    }
    for size in [64 << 10, 1 << 20] {
        for tasks in [1, 8] {
            let rate = ingest(plane, seeds, tasks, size, false).await;
            let kib = size >> 10;
            println!("ingest {kib:>4} KiB, durable, {tasks:>2} tasks   {:>9.0} /s {:>6.0} MB/s", rate, mb(rate, size));
        }
    }
    for (tasks, md5) in [(1, false), (8, false), (1, true), (8, true)] {
        let cpu = cpu_seconds();
        let first = seeds.next;
        let rate = ingest(plane, seeds, tasks, LARGE, md5).await;
        let per_gb = (cpu_seconds() - cpu) / ((seeds.next - first) as f64 * LARGE as f64 / 1e9);
        let with = if md5 { ", MD5" } else { "" };
        println!(
            "ingest 64 MiB, durable, {tasks} tasks{with:<5} {:>16.0} MB/s {per_gb:>6.2} CPU s/GB",
            mb(rate, LARGE)
        );
    }
    large_served(plane, seeds).await;
    remove_all(plane).await;
    println!("most memory so far (VmHWM)          {:>9} MiB", peak_memory());
}

/// What the disk and the processor do without us.
fn limits(directory: &Path) {
    let path = directory.join("limits");
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
    let record = vec![7; SMALL + 300];
    for (batch, name) in [(1, "1"), (8, "8"), (32, "32")] {
        let bytes = record.repeat(batch);
        let mut at = 0;
        let rate = rate(|| {
            file.write_all_at(&bytes, at).unwrap();
            rustix::fs::fdatasync(&file).unwrap();
            at += bytes.len() as u64;
        });
        println!("bare pwrite+fdatasync of {name:>2} x 4 KiB  {:>9.0} /s {:>9.0} records/s", rate, rate * batch as f64);
    }
    let piece = vec![7; 1 << 20];
    let written = rate(|| {
        (0..64).for_each(|number| file.write_all_at(&piece, number << 20).unwrap());
        rustix::fs::fdatasync(&file).unwrap();
    });
    println!("bare pwrite+fdatasync of 64 MiB     {:>16.0} MB/s", mb(written, LARGE));
    let mut into = vec![0; 256 << 10];
    let mut at = 0;
    let rate_read = rate(|| {
        file.read_exact_at(&mut into, at).unwrap();
        at = (at + into.len() as u64) % (LARGE as u64 - into.len() as u64);
    });
    println!("bare pread of 256 KiB, cached       {:>16.0} MB/s", mb(rate_read, 256 << 10));
    let mut page = vec![0; SMALL];
    let rate_small = rate(|| file.read_exact_at(black_box(&mut page), 8192).unwrap());
    println!("bare pread of 4 KiB, cached         {rate_small:>9.0} /s");
    drop(File::options().write(true).open(&path).unwrap().set_len(0));
    let hash = |len: usize| {
        let bytes = Bytes::from(vec![9; len]);
        rate(|| {
            black_box(Address::of(black_box(&bytes)));
        })
    };
    println!("bare BLAKE3 of 256 KiB              {:>16.0} MB/s", mb(hash(256 << 10), 256 << 10));
    println!("bare BLAKE3 of 4 KiB                {:>9.0} /s", hash(SMALL));
    let bytes = vec![9; 1 << 20];
    for md5 in [false, true] {
        let digests = rate(|| {
            let mut digester = Digester::new(md5);
            digester.update(&bytes);
            black_box(digester.finish());
        });
        let with = if md5 { ", MD5" } else { "" };
        println!("bare BLAKE3, SHA-256{with:<5} on 1 thread {:>12.0} MB/s", mb(digests, 1 << 20));
    }
    let small = rate(|| {
        black_box(digest(black_box(&bytes[..SMALL]), false));
    });
    println!("bare digests of 4 KiB               {small:>9.0} /s");
}

async fn ingest(plane: &FsPlane, seeds: &mut Seeds, tasks: u64, size: usize, md5: bool) -> f64 {
    let first = seeds.next;
    let next = Arc::new(AtomicU64::new(first));
    let begun = Instant::now();
    let running: Vec<_> = (0..tasks)
        .map(|_| {
            let (plane, next, template) = (plane.clone(), Arc::clone(&next), template(size));
            tokio::spawn(async move {
                while begun.elapsed() < MEASURED {
                    let source = content(&template, size, next.fetch_add(1, Ordering::Relaxed));
                    plane.ingest_stream(source, Hints { md5, ..Hints::plain(Owner::Objects) }).await.unwrap();
                }
            })
        })
        .collect();
    for task in running {
        task.await.unwrap();
    }
    let done = next.load(Ordering::Relaxed) - first;
    seeds.next += done;
    done as f64 / begun.elapsed().as_secs_f64()
}

/// Fills the store, and compares the first and the last tenth.
async fn filled(plane: &FsPlane, seeds: &mut Seeds, contents: u64) {
    let mut rates = Vec::new();
    for _ in 0..10 {
        let next = Arc::new(AtomicU64::new(seeds.next));
        let end = seeds.next + contents / 10;
        let begun = Instant::now();
        let running: Vec<_> = (0..FILLING)
            .map(|_| {
                let (plane, next, template) = (plane.clone(), Arc::clone(&next), template(SMALL));
                tokio::spawn(async move {
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= end {
                            return;
                        }
                        plane
                            .ingest_stream(content(&template, SMALL, seed), Hints::plain(Owner::Objects))
                            .await
                            .unwrap();
                    }
                })
            })
            .collect();
        for task in running {
            task.await.unwrap();
        }
        seeds.next = end;
        rates.push((contents / 10) as f64 / begun.elapsed().as_secs_f64());
    }
    let each: Vec<String> = rates.iter().map(|rate| format!("{rate:.0}")).collect();
    println!("filled with {contents} of 4 KiB, 32 tasks; each tenth: {} /s", each.join(", "));
    println!("the last tenth beside the first     {:>9.0} %", 100.0 * rates[9] / rates[0]);
}

async fn served(plane: &FsPlane, tasks: u64, seeds: std::ops::Range<u64>) -> f64 {
    let template = template(SMALL);
    let addresses: Arc<Vec<Address>> =
        Arc::new(seeds.step_by(1).map(|seed| Address::of(&stamped(&template, seed))).collect());
    // Once, so that what is measured is not the disk.
    for address in addresses.iter().take(HOT as usize) {
        drop(plane.serve_object(Serve { address: *address, range: None, key: None }).await.unwrap());
    }
    let begun = Instant::now();
    let running: Vec<_> = (0..tasks)
        .map(|task| {
            let (plane, addresses) = (plane.clone(), Arc::clone(&addresses));
            tokio::spawn(async move {
                let mut state = task * 7919 + 1;
                let mut served = 0;
                while begun.elapsed() < MEASURED {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let address = addresses[(state >> 33) as usize % addresses.len()];
                    let body = plane.serve_object(Serve { address, range: None, key: None }).await.unwrap().body;
                    assert!(matches!(body, Body::Whole(bytes) if bytes.len() == SMALL));
                    served += 1;
                    if served % 64 == 0 {
                        tokio::task::yield_now().await;
                    }
                }
                served
            })
        })
        .collect();
    let mut served = 0;
    for task in running {
        served += task.await.unwrap();
    }
    f64::from(served) / begun.elapsed().as_secs_f64()
}

async fn large_served(plane: &FsPlane, seeds: &mut Seeds) {
    let source = content(&template(LARGE), LARGE, seeds.next);
    let address = plane.ingest_stream(source, Hints::plain(Owner::Objects)).await.unwrap().address;
    for tasks in [1, 8] {
        let (begun, cpu) = (Instant::now(), cpu_seconds());
        let running: Vec<_> = (0..tasks)
            .map(|_| {
                let plane = plane.clone();
                tokio::spawn(async move {
                    let mut bytes = 0;
                    while begun.elapsed() < MEASURED {
                        let served = plane.serve_object(Serve { address, range: None, key: None }).await.unwrap();
                        let Body::Stream(mut stream) = served.body else { panic!("64 MiB are a stream") };
                        while let Some(piece) = stream.next().await {
                            bytes += piece.unwrap().len();
                            tokio::task::consume_budget().await;
                        }
                    }
                    bytes
                })
            })
            .collect();
        let mut bytes = 0;
        for task in running {
            bytes += task.await.unwrap();
        }
        let rate = bytes as f64 / 1e6 / begun.elapsed().as_secs_f64();
        let per_gb = (cpu_seconds() - cpu) / (bytes as f64 / 1e9);
        println!("serve 64 MiB, verified, {tasks} tasks {rate:>22.0} MB/s {per_gb:>6.2} CPU s/GB");
    }
}

async fn remove_all(plane: &FsPlane) {
    for stored in plane.contents(Owner::Objects, None, usize::MAX).await.unwrap() {
        let (address, claim) = (stored.address, stored.claim);
        let request = mainstay_dataplane::Delete { owner: Owner::Objects, address, claim };
        if stored.size > SMALL as u64 {
            plane.delete_object(request).await.unwrap();
        }
    }
    let begun = Instant::now();
    let freed = plane.reclaim().await.unwrap();
    println!("reclaimed {} MiB in {:.1} s", freed >> 20, begun.elapsed().as_secs_f64());
}

async fn starts(place: &Path) {
    for _ in 0..3 {
        let begun = Instant::now();
        let plane = FsPlane::open(place, FsConfig::default()).await.unwrap();
        let health = plane.backend_health().await;
        println!("opened with {} contents        {:>9.1} ms", health.contents, begun.elapsed().as_secs_f64() * 1e3);
        plane.close().await;
    }
    std::fs::remove_file(place.join("index.redb")).unwrap();
    let begun = Instant::now();
    let plane = FsPlane::open(place, FsConfig::default()).await.unwrap();
    println!("opened without an index             {:>9.1} s", begun.elapsed().as_secs_f64());
    plane.close().await;
}

/// Numbers of contents that were not used yet.
#[derive(Default)]
struct Seeds {
    next: u64,
}

/// What contents of some size consist of, over and over.
fn template(size: usize) -> Bytes {
    (0..size.min(CHUNK)).map(|at| ((at * 31) >> 3) as u8).collect::<Vec<u8>>().into()
}

/// The template again and again, at first with another beginning.
fn content(template: &Bytes, size: usize, seed: u64) -> Source {
    let first = stamped(template, seed);
    let template = template.clone();
    let rest = (CHUNK..size).step_by(CHUNK).map(move |_| Ok(template.clone()));
    Box::pin(stream::iter(std::iter::once(Ok(first)).chain(rest)))
}

fn stamped(template: &Bytes, seed: u64) -> Bytes {
    let mut bytes = template.to_vec();
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes.into()
}

fn rate(mut work: impl FnMut()) -> f64 {
    let begun = Instant::now();
    let mut done = 0u64;
    while begun.elapsed() < Duration::from_secs(1) {
        work();
        done += 1;
    }
    done as f64 / begun.elapsed().as_secs_f64()
}

fn mb(rate: f64, size: usize) -> f64 {
    rate * size as f64 / 1e6
}

fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

/// What all threads of this process have had of the processors, in user and system mode.
fn cpu_seconds() -> f64 {
    // The kernel counts in hundredths of a second there, whatever its own clock is (proc_pid_stat(5)).
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}
