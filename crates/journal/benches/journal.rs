//! Figures of the journal on the `filesystem` driver: group commit, flatness, replay and start.
//!
//! `cargo bench -p mainstay-journal` fills a journal up to a million events; `-- --quick` up to a hundred thousand.
//! `MAINSTAY_BENCH_DIR` names the directory whose disk is measured; it is the current one otherwise.

#![allow(clippy::unwrap_used, reason = "a benchmark that fails stops")]

#[path = "../tests/it/traffic.rs"]
mod traffic;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mainstay_domain::event::NewEvent;
use mainstay_journal::{Journal, SCHEMA};
use mainstay_storage::{Location, Service, Store};

/// How long a rate is measured at a time.
const MEASURED: Duration = Duration::from_secs(1);

/// How often each rate is measured, in turns with the other so that a disk's moods meet both; the median counts.
const ROUNDS: usize = 5;

/// How many callers append at once where group commit is measured.
const WRITERS: u64 = 64;

/// Lives that are recorded with one submission while the journal is filled.
const LIVES_AT_ONCE: u64 = 50;

#[tokio::main]
async fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let parent = std::env::var_os("MAINSTAY_BENCH_DIR").unwrap_or_else(|| ".".into());
    let directory = tempfile::tempdir_in(parent).unwrap();
    let sizes: &[u64] = if quick { &[10_000, 100_000] } else { &[10_000, 100_000, 1_000_000] };
    let lives = Arc::new(AtomicU64::new(0));

    println!("{:>10} {:>18} {:>18} {:>8}", "events", "1 writer (1/s)", "64 writers (1/s)", "ratio");
    let mut journal = open(directory.path()).await;
    for &size in sizes {
        fill(&journal, &lives, size).await;
        let (mut alone, mut together) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            alone.push(rate(&journal, &lives, 1).await);
            together.push(rate(&journal, &lives, WRITERS).await);
        }
        let (alone, together) = (median(alone), median(together));
        println!("{size:>10} {alone:>18.0} {together:>18.0} {:>8.1}", together / alone);
    }

    let events = journal.view().sequence();
    let instances = journal.view().instances().count();
    let started = Instant::now();
    let replayed = journal.replay().await.unwrap();
    let replay = started.elapsed();
    assert_eq!(minicbor::to_vec(&replayed).unwrap(), minicbor::to_vec(&*journal.view()).unwrap());
    let started = Instant::now();
    journal.verify(|_, _| {}).await.unwrap();
    let verify = started.elapsed();
    let started = Instant::now();
    journal.close().await;
    let close = started.elapsed();
    let started = Instant::now();
    journal = open(directory.path()).await;
    let start = started.elapsed();
    assert_eq!(journal.view().sequence(), events);
    let bytes = std::fs::metadata(directory.path().join("journal.sqlite")).unwrap().len();
    println!("\n{events} events, {instances} live instances, {} MiB on disk", bytes >> 20);
    println!("replay with every check  {:>8.2} s", replay.as_secs_f64());
    println!("verify                   {:>8.2} s", verify.as_secs_f64());
    println!("close (takes a snapshot) {:>8.2} s", close.as_secs_f64());
    println!("open with snapshot       {:>8.2} s", start.as_secs_f64());
}

async fn open(directory: &Path) -> Journal {
    let place = Location::Directory(directory.to_owned());
    Journal::open(Store::open(&place, Service::Journal, SCHEMA).await.unwrap()).await.unwrap()
}

/// Records whole lives until the journal has a size.
async fn fill(journal: &Journal, lives: &AtomicU64, size: u64) {
    while journal.view().sequence() < size {
        let first = lives.fetch_add(LIVES_AT_ONCE, Ordering::Relaxed);
        append(journal, (first..first + LIVES_AT_ONCE).flat_map(traffic::life).collect()).await;
    }
}

/// Durable appends per second, each of one event, by so many callers at once.
async fn rate(journal: &Journal, lives: &Arc<AtomicU64>, writers: u64) -> f64 {
    let started = Instant::now();
    let callers: Vec<_> = (0..writers)
        .map(|_| {
            let (journal, lives) = (journal.clone(), lives.clone());
            tokio::spawn(async move {
                let mut appended = 0;
                while started.elapsed() < MEASURED {
                    for event in traffic::life(lives.fetch_add(1, Ordering::Relaxed)) {
                        append(&journal, vec![event]).await;
                        appended += 1;
                    }
                }
                appended
            })
        })
        .collect();
    let mut appended: u64 = 0;
    for caller in callers {
        appended += caller.await.unwrap();
    }
    appended as f64 / started.elapsed().as_secs_f64()
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

async fn append(journal: &Journal, events: Vec<NewEvent>) {
    journal.submit(move |_, _| Ok::<_, ()>((events.clone(), ()))).await.unwrap();
}
