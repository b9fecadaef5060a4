//! A process that is killed at any moment: while it writes, makes new data keys, and changes its seal.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use mainstay_custody::{Barrier, Change, Custody, Expect, Rekeyed, Share, Split};
use mainstay_storage::Location;

use crate::{entry, key, on_disk};

/// Says to the test below that it is the process that is killed, where it writes, and from which number on.
const DIRECTORY: &str = "MAINSTAY_TEST_CUSTODY_DIRECTORY";
const FIRST: &str = "MAINSTAY_TEST_CUSTODY_FIRST";

/// Callers that write at once in that process, each its own entries.
const CALLERS: u64 = 4;

/// A value that shows whether it is whole, and belongs to which number.
fn value(number: u64) -> Vec<u8> {
    let digest = blake3::hash(&number.to_le_bytes());
    [&number.to_le_bytes()[..], &digest.as_bytes().repeat(1 + (number % 40) as usize)].concat()
}

/// Not a test by itself: the process that the other test starts and kills.
#[tokio::test(flavor = "multi_thread")]
async fn writer_process() {
    let Some(path) = std::env::var_os(DIRECTORY) else { return };
    let first: u64 = std::env::var(FIRST).unwrap().parse().unwrap();
    let custody = on_disk(Path::new(&path)).await;
    let mut tasks: Vec<_> =
        (0..CALLERS).map(|caller| tokio::spawn(write_on(custody.barrier(), caller, first))).collect();
    // Keys change beside the writes; the seal's key goes round a circle of two, so that the test can open the store.
    tasks.push(tokio::spawn(async move {
        for round in 0u64.. {
            custody.rotate_data_key().await.unwrap();
            custody.rewrap(key(if round % 2 == 0 { 2 } else { 1 })).await.unwrap();
        }
    }));
    for task in tasks {
        task.await.unwrap();
    }
}

/// Two entries at a time, which must always be of one number.
async fn write_on(barrier: Barrier, caller: u64, first: u64) {
    for number in first.. {
        let pair = ["left", "right"].map(|side| entry(&format!("{side}/{caller}/{}", number % 7), &value(number)));
        let mut changes = Vec::from(pair);
        if number % 5 == 0 {
            changes.push(Change { value: None, expect: Expect::Anything, ..entry(&format!("gone/{caller}"), b"") });
        } else {
            changes.push(entry(&format!("gone/{caller}"), &value(number)));
        }
        barrier.commit(changes).await.unwrap();
        println!("\nacknowledged {caller} {number}");
    }
}

/// Starts a writer, kills it after so many acknowledgements, and gives the last one of each caller.
fn write_and_kill(path: &Path, first: u64, acknowledgements: usize) -> BTreeMap<u64, u64> {
    let mut writer = Command::new(std::env::current_exe().unwrap())
        .args(["crash::writer_process", "--exact", "--nocapture"])
        .env(DIRECTORY, path)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut acknowledged = BTreeMap::new();
    let mut seen = 0;
    let mut lines = BufReader::new(writer.stdout.take().unwrap());
    let mut line = String::new();
    // Whole lines only: what is cut off was not acknowledged.
    while lines.read_line(&mut line).unwrap() > 0 && line.ends_with('\n') {
        if let Some(rest) = line.trim_end().strip_prefix("acknowledged ") {
            let (caller, number) = rest.split_once(' ').unwrap();
            acknowledged.insert(caller.parse().unwrap(), number.parse().unwrap());
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
async fn a_killed_process_loses_nothing_acknowledged_and_leaves_nothing_half_written() {
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    println!("seed {seed}");
    let path = tempfile::tempdir().unwrap();
    let mut first = 1;
    for round in 0..6 {
        let count = 1 + pick(seed, round, 300) as usize;
        let acknowledged = tokio::task::block_in_place(|| write_and_kill(path.path(), first, count));
        let custody = open_with_either(path.path()).await;
        let barrier = custody.barrier();
        for (caller, last) in acknowledged {
            let mut newest = 0;
            for slot in 0..7 {
                let left = read(&barrier, &format!("left/{caller}/{slot}")).await;
                assert_eq!(left, read(&barrier, &format!("right/{caller}/{slot}")).await, "seed {seed}, round {round}");
                newest = newest.max(left.unwrap_or(0));
            }
            assert!(newest >= last, "{newest} of {last} (seed {seed}, round {round})");
            let gone = read(&barrier, &format!("gone/{caller}")).await;
            assert_eq!(gone, (newest % 5 != 0).then_some(newest), "seed {seed}, round {round}");
            first = first.max(newest + 1);
        }
        // The process of the next round opens with the first key.
        custody.rewrap(key(1)).await.unwrap();
        if round % 2 == 0 {
            custody.close().await;
        }
    }
}

async fn open_with_either(path: &Path) -> Custody {
    let location = Location::Directory(path.into());
    match Custody::open(&location, key(1)).await {
        Ok(custody) => custody,
        Err(_) => Custody::open(&location, key(2)).await.unwrap(),
    }
}

/// The number of an entry, whose value must be whole.
async fn read(barrier: &Barrier, path: &str) -> Option<u64> {
    let entry = barrier.get(path).await.unwrap()?;
    let number = u64::from_le_bytes(entry.value[..8].try_into().unwrap());
    assert_eq!(entry.value.as_slice(), value(number), "{path}");
    Some(number)
}

/// Not a test by itself: a process that is rekeyed until it is killed.
#[tokio::test]
async fn rekey_process() {
    let Some(path) = std::env::var_os(DIRECTORY) else { return };
    if std::env::var(FIRST).unwrap() != "rekey" {
        return;
    }
    let custody = Custody::open_sealed(&Location::Directory(path.into())).await.unwrap();
    let split = Split::new(2u8, 2u8).unwrap();
    let mut shares = match custody.initialize(split).await {
        Ok(shares) => shares,
        Err(error) => panic!("{error}"),
    };
    let tell = |shares: &[Share]| println!("\nshares {} {}", &**shares[0].to_hex(), &**shares[1].to_hex());
    tell(&shares);
    loop {
        let nonce = custody.begin_rekey(split).await.unwrap().attempt.nonce.unwrap();
        let mut new = None;
        for share in shares {
            if let Rekeyed::Done(done) = custody.rekey(nonce.as_str(), share).await.unwrap() {
                new = Some(done);
            }
        }
        shares = new.unwrap();
        tell(&shares);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_killed_while_it_is_rekeyed_opens_with_shares_that_were_handed_out() {
    for count in [1, 2, 5, 17] {
        let path = tempfile::tempdir().unwrap();
        let told = tokio::task::block_in_place(|| {
            let mut process = Command::new(std::env::current_exe().unwrap())
                .args(["crash::rekey_process", "--exact", "--nocapture"])
                .env(DIRECTORY, path.path())
                .env(FIRST, "rekey")
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
            let mut told: Vec<String> = Vec::new();
            for line in lines.filter(|line| line.starts_with("shares ") && line.len() == 7 + 66 + 1 + 66) {
                told.push(line);
                if told.len() == count {
                    process.kill().unwrap();
                }
            }
            process.wait().unwrap();
            told
        });
        let custody = Custody::open_sealed(&Location::Directory(path.path().into())).await.unwrap();
        // The last ones that were told, or ones that were about to be: then the store is as an operator finds it whose
        // answer was lost, and the ones before do not open it either. It is never in between.
        let shares: Vec<Share> = told.last().unwrap()[7..].split(' ').map(|text| Share::parse(text).unwrap()).collect();
        for share in shares {
            let _ = custody.unseal(share).await;
        }
        let status = custody.seal_status().await.unwrap();
        assert!(status.attempt.nonce.is_none());
        if !custody.is_sealed() {
            custody.rotate_data_key().await.unwrap();
        }
    }
}

/// A number below a bound, from a seed and a counter (splitmix64).
fn pick(seed: u64, counter: u64, below: u64) -> u64 {
    let mut bits = seed.wrapping_add((counter + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (bits ^ (bits >> 31)) % below
}
