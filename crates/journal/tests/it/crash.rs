//! A writer that is killed at any moment, and a write-ahead log that is cut or damaged at any place.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use mainstay_journal::Journal;
use mainstay_storage::{Service, Store};

use crate::traffic::life;
use crate::{append, chain, check_whole, directory, open};

/// Says to the test below that it is the process that is killed, and where it writes.
const DIRECTORY: &str = "MAINSTAY_TEST_WRITER_DIRECTORY";

/// Callers that append at once in that process.
const CALLERS: u64 = 4;

/// Not a test by itself: the process that the other tests start and kill.
#[tokio::test(flavor = "multi_thread")]
async fn writer_process() {
    let Some(path) = std::env::var_os(DIRECTORY) else { return };
    let journal = open(&directory(Path::new(&path))).await.unwrap();
    let first = journal.view().sequence();
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let journal = journal.clone();
            tokio::spawn(async move {
                for number in (first * CALLERS + caller..).step_by(CALLERS as usize) {
                    let committed = append(&journal, life(number)).await.unwrap();
                    println!("\nacknowledged {}", committed.sequence);
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
}

/// Starts a writer, kills it with signal 9 after so many acknowledgements, and gives the highest one.
fn write_and_kill(path: &Path, acknowledgements: usize) -> u64 {
    let mut writer = Command::new(std::env::current_exe().unwrap())
        .args(["crash::writer_process", "--exact", "--nocapture"])
        .env(DIRECTORY, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut acknowledged = 0;
    let mut seen = 0;
    let mut lines = BufReader::new(writer.stdout.take().unwrap());
    let mut line = String::new();
    // Whole lines only: what is cut off was not acknowledged.
    while lines.read_line(&mut line).unwrap() > 0 && line.ends_with('\n') {
        if let Some(sequence) = line.trim_end().strip_prefix("acknowledged ") {
            acknowledged = acknowledged.max(sequence.parse().unwrap());
            seen += 1;
            if seen == acknowledgements {
                writer.kill().unwrap();
            }
        }
        line.clear();
    }
    writer.wait().unwrap();
    assert!(seen >= acknowledgements, "the writer ended by itself after {seen} acknowledgements");
    acknowledged
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_writer_loses_nothing_acknowledged() {
    let seed = seed();
    let path = tempfile::tempdir().unwrap();
    for round in 0..8 {
        let count = 1 + pick(seed, round, 300) as usize;
        let acknowledged = tokio::task::block_in_place(|| write_and_kill(path.path(), count));
        let journal = open(&directory(path.path())).await.unwrap();
        let recovered = journal.view().sequence();
        assert!(recovered >= acknowledged, "{recovered} of {acknowledged} events (seed {seed}, round {round})");
        check_whole(&journal).await;
        if round % 2 == 0 {
            journal.close().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_write_ahead_log_leaves_a_valid_prefix_or_a_clear_refusal() {
    let seed = seed();
    let path = tempfile::tempdir().unwrap();
    let acknowledged = tokio::task::block_in_place(|| write_and_kill(path.path(), 60));
    let log = std::fs::read(path.path().join("journal.sqlite-wal")).unwrap();
    assert!(log.len() > 4096);
    let mut shortened = 0;
    for round in 0..120 {
        let place = pick(seed, round, log.len() as u64) as usize;
        let mut torn = log.clone();
        match round % 3 {
            0 => torn.truncate(place),
            1 => torn[place] ^= 0x10,
            // A sector that never reached the disk.
            _ => torn[place / 512 * 512..].iter_mut().take(512).for_each(|byte| *byte = 0),
        }
        let copy = tempfile::tempdir().unwrap();
        std::fs::copy(path.path().join("journal.sqlite"), copy.path().join("journal.sqlite")).unwrap();
        std::fs::write(copy.path().join("journal.sqlite-wal"), torn).unwrap();
        match prefix(copy.path()).await {
            Ok(sequence) => shortened += u32::from(sequence < acknowledged),
            Err(refusal) => {
                assert!(
                    refusal.contains("journal") && refusal.contains("restore"),
                    "{refusal} (seed {seed}, round {round})"
                );
            }
        }
    }
    assert!(shortened > 0, "no damage reached an event (seed {seed})");
}

/// The last event of the valid prefix that is left, or the refusal.
async fn prefix(path: &Path) -> Result<u64, String> {
    let place = directory(path);
    let storage =
        Store::open(&place, Service::Journal, mainstay_journal::SCHEMA).await.map_err(|error| chain(&error))?;
    let journal = Journal::open(storage).await.map_err(|error| chain(&error))?;
    check_whole(&journal).await;
    let sequence = journal.view().sequence();
    append(&journal, life(1_000_000_000)).await.unwrap();
    check_whole(&journal).await;
    Ok(sequence)
}

fn seed() -> u64 {
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    println!("seed {seed}");
    seed
}

/// A number below a bound, from a seed and a counter (splitmix64).
fn pick(seed: u64, counter: u64, below: u64) -> u64 {
    let mut bits = seed.wrapping_add((counter + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (bits ^ (bits >> 31)) % below
}
