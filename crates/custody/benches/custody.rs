//! Figures of the barrier on the `filesystem` driver, beside what the same disk and SQLite do bare in the same run.
//!
//! `cargo bench -p mainstay-custody` fills a store with a million entries; `-- --quick` with a hundred thousand.
//! `MAINSTAY_BENCH_DIR` names the directory whose disk is measured; it is the current one otherwise.

#![allow(clippy::unwrap_used, reason = "a benchmark that fails stops")]

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mainstay_custody::{Barrier, Change, Custody, Expect, MasterKey, ZeroizeOnFree};
use mainstay_storage::Location;
use rusqlite::Connection;
use zeroize::Zeroizing;

/// How long a rate is measured.
const MEASURED: Duration = Duration::from_secs(2);

/// A secret with its metadata as JSON.
const VALUE: usize = 300;

/// Entries that are stored with one commit while the store is filled.
const AT_ONCE: u64 = 1000;

/// Entries that are read again and again where hot reading is measured.
const HOT: u64 = 1000;

#[global_allocator]
static ALLOCATOR: ZeroizeOnFree = mainstay_custody::ZEROIZE_ON_FREE;

#[tokio::main]
async fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let parent = std::env::var_os("MAINSTAY_BENCH_DIR").unwrap_or_else(|| ".".into());
    let directory = tempfile::tempdir_in(parent).unwrap();
    let entries: u64 = if quick { 100_000 } else { 1_000_000 };

    println!("bare fsync, 4 KiB appended      {:>10.0} /s", bare_fsync(directory.path()));
    println!("bare SQLite, 1 writer           {:>10.0} /s", bare_sqlite(directory.path(), 1));
    println!("bare SQLite, 64 rows at a time  {:>10.0} /s", bare_sqlite(directory.path(), 64));

    let custody = open(directory.path()).await;
    let started = Instant::now();
    for first in (0..entries).step_by(AT_ONCE as usize) {
        custody.barrier().commit((first..first + AT_ONCE).map(change).collect()).await.unwrap();
    }
    println!("filled with {entries} entries      {:>10.0} /s", entries as f64 / started.elapsed().as_secs_f64());

    for writers in [1, 64] {
        let rate = commits(&custody.barrier(), entries, writers).await;
        println!("durable commits, {writers:>2} writers     {rate:>10.0} /s");
    }
    custody.close().await;
    drop(custody);

    let started = Instant::now();
    let custody = open(directory.path()).await;
    println!("open with every entry summed    {:>10.2} s", started.elapsed().as_secs_f64());
    let barrier = custody.barrier();
    println!("get, cold, 1 reader             {:>10.0} /s", gets(&barrier, 1, move |n| scattered(n, entries)).await);
    println!(
        "get, cold, 2 readers            {:>10.0} /s",
        gets(&barrier, 2, move |n| scattered(n + entries / 2, entries)).await
    );
    println!("get, hot, 1 reader              {:>10.0} /s", gets(&barrier, 1, |n| n % HOT).await);
    println!("get, hot, 2 readers             {:>10.0} /s", gets(&barrier, 2, |n| n % HOT).await);

    let started = Instant::now();
    let folders = barrier.children("kv/", None, usize::MAX >> 1).await.unwrap().len();
    println!("list of {folders:>4} folders            {:>10.3} s", started.elapsed().as_secs_f64());
    let started = Instant::now();
    let mut after: Option<String> = None;
    let mut listed = 0;
    loop {
        let page = barrier.paths("kv/", after.as_deref(), 100_000).await.unwrap();
        listed += page.len();
        match page.into_iter().last() {
            Some(last) => after = Some(last),
            None => break,
        }
    }
    println!("list of {listed} paths         {:>10.3} s", started.elapsed().as_secs_f64());
    let started = Instant::now();
    let mut snapshot =
        tokio::io::BufWriter::new(tokio::fs::File::create(directory.path().join("snapshot")).await.unwrap());
    let bytes = custody.snapshot(&mut snapshot).await.unwrap().bytes;
    let seconds = started.elapsed().as_secs_f64();
    println!("snapshot of {:>4} MiB            {seconds:>10.2} s", bytes >> 20);
}

async fn open(directory: &Path) -> Custody {
    Custody::open(&Location::Directory(directory.to_owned()), MasterKey::from_bytes([7; 32])).await.unwrap()
}

/// Paths that are spread over the index, as those of leases and tokens are.
fn path(number: u64) -> String {
    let scattered = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("kv/{:02x}/{scattered:016x}/{number}", scattered >> 56)
}

fn change(number: u64) -> Change {
    Change { path: path(number), expect: Expect::Anything, value: Some(Zeroizing::new(vec![number as u8; VALUE])) }
}

/// A number below a bound, each once as long as the counter is below it too (both are powers of ten).
fn scattered(counter: u64, below: u64) -> u64 {
    counter.wrapping_mul(7_919) % below
}

/// Durable commits a second, each of one entry, half of them new ones.
async fn commits(barrier: &Barrier, entries: u64, writers: u64) -> f64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let started = Instant::now();
    let writers: Vec<_> = (0..writers)
        .map(|_| {
            let barrier = barrier.clone();
            tokio::spawn(async move {
                let mut done = 0;
                while started.elapsed() < MEASURED {
                    let number = NEXT.fetch_add(1, Ordering::Relaxed);
                    let number = if number.is_multiple_of(2) { entries + number } else { scattered(number, entries) };
                    barrier.commit(vec![change(number)]).await.unwrap();
                    done += 1;
                }
                done
            })
        })
        .collect();
    let mut done: u64 = 0;
    for writer in writers {
        done += writer.await.unwrap();
    }
    done as f64 / started.elapsed().as_secs_f64()
}

async fn gets(barrier: &Barrier, readers: u64, which: impl Fn(u64) -> u64 + Send + Sync + 'static) -> f64 {
    let next = Arc::new(AtomicU64::new(0));
    let which = Arc::new(which);
    let started = Instant::now();
    let readers: Vec<_> = (0..readers)
        .map(|_| {
            let (barrier, next, which) = (barrier.clone(), next.clone(), which.clone());
            tokio::spawn(async move {
                let mut done = 0;
                while started.elapsed() < MEASURED {
                    for _ in 0..100 {
                        let path = path(which(next.fetch_add(1, Ordering::Relaxed)));
                        assert_eq!(barrier.get(&path).await.unwrap().unwrap().value.len(), VALUE);
                        done += 1;
                    }
                }
                done
            })
        })
        .collect();
    let mut done: u64 = 0;
    for reader in readers {
        done += reader.await.unwrap();
    }
    done as f64 / started.elapsed().as_secs_f64()
}

fn bare_fsync(directory: &Path) -> f64 {
    let mut file = OpenOptions::new().append(true).create(true).open(directory.join("fsync")).unwrap();
    let (started, mut done) = (Instant::now(), 0u64);
    while started.elapsed() < MEASURED {
        file.write_all(&[done as u8; 4096]).unwrap();
        file.sync_data().unwrap();
        done += 1;
    }
    done as f64 / started.elapsed().as_secs_f64()
}

fn bare_sqlite(directory: &Path, rows: u64) -> f64 {
    let connection = Connection::open(directory.join(format!("bare-{rows}.sqlite"))).unwrap();
    let wal: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).unwrap();
    assert_eq!(wal, "wal");
    connection
        .execute_batch("PRAGMA synchronous = FULL; CREATE TABLE bare (path TEXT NOT NULL UNIQUE, value BLOB)")
        .unwrap();
    let mut insert = connection.prepare("INSERT INTO bare (path, value) VALUES (?1, ?2)").unwrap();
    let (started, mut done) = (Instant::now(), 0u64);
    while started.elapsed() < MEASURED {
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        for _ in 0..rows {
            insert.execute((path(done), [done as u8; VALUE])).unwrap();
            done += 1;
        }
        connection.execute_batch("COMMIT").unwrap();
    }
    done as f64 / started.elapsed().as_secs_f64()
}
