//! A process that is killed at any moment: afterwards the index and the content agree, and what was acknowledged is there.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use mainstay_bucket::{BucketName, Versioning};
use mainstay_dataplane::{Inventory, Owner};
use mainstay_dataplane_fs::{FsConfig, FsPlane};
use mainstay_objects::{Limits, NewBucket, Objects};
use mainstay_storage::{Location, Store};
use mainstay_types::Timestamp;

use crate::harness::{self, TestFeed, TestKeys, account, check, deletion, put};
use crate::plane::bytes_of;

/// Says to the test below that it is the process that is killed, where it works, and from which number on.
const DIRECTORY: &str = "MAINSTAY_TEST_OBJECTS_DIRECTORY";
const FIRST: &str = "MAINSTAY_TEST_OBJECTS_FIRST";
/// Repeats a run with its seed.
const SEED: &str = "MAINSTAY_TEST_SEED";

/// Callers that work at once in that process, each on its own keys.
const CALLERS: u64 = 6;

/// How often the process is killed.
const ROUNDS: u64 = 12;

/// Bytes that show whether they are whole and of which number, small and large; some numbers share them.
fn content(caller: u64, number: u64) -> Vec<u8> {
    let shared = if number.is_multiple_of(3) { number } else { 1000 * (caller + 1) + number };
    let digest = blake3::hash(&shared.to_le_bytes());
    let times = [1, 100, 70_000][(number % 31 / 15) as usize];
    [&shared.to_le_bytes()[..], &digest.as_bytes().repeat(times)].concat()
}

async fn open(directory: &Path) -> (Objects, Store, Arc<FsPlane>) {
    let plane = Arc::new(FsPlane::open(&directory.join("content"), FsConfig::default()).await.unwrap());
    let location = Location::Directory(directory.to_owned());
    let (keys, feed) = (Arc::new(TestKeys::default()), Arc::new(TestFeed::default()));
    let (objects, store) = harness::open(&location, plane.clone(), plane.clone(), keys, feed, Duration::ZERO).await;
    (objects, store, plane)
}

fn bucket(caller: u64) -> BucketName {
    if caller.is_multiple_of(2) { "plain".parse().unwrap() } else { "versioned".parse().unwrap() }
}

/// Not a test by itself: the process that the other test starts and kills.
#[tokio::test(flavor = "multi_thread")]
async fn worker_process() {
    let Some(path) = std::env::var_os(DIRECTORY) else { return };
    let first: u64 = std::env::var(FIRST).unwrap().parse().unwrap();
    let (objects, _store, _plane) = open(Path::new(&path)).await;
    let callers: Vec<_> = (0..CALLERS).map(|caller| tokio::spawn(work(objects.clone(), caller, first))).collect();
    let collector = tokio::spawn(async move {
        loop {
            objects.keep(Timestamp::now()).await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    for caller in callers {
        caller.await.unwrap();
    }
    collector.abort();
}

async fn work(objects: Objects, caller: u64, first: u64) {
    for number in first.. {
        let key = format!("{caller}/{}", number % 5);
        if number % 7 == 6 {
            objects.delete(deletion(&bucket(caller), &key, None)).await.unwrap();
        } else {
            let bytes = content(caller, number);
            put(&objects, &bucket(caller), &key, &bytes, Default::default()).await.unwrap();
        }
        println!("\nacknowledged {caller} {number}");
    }
}

/// Starts a process, kills it after so many acknowledgements, and gives the last one of each caller.
fn work_and_kill(path: &Path, first: u64, acknowledgements: u64) -> BTreeMap<u64, u64> {
    let mut worker = Command::new(std::env::current_exe().unwrap())
        .args(["crash::worker_process", "--exact", "--nocapture"])
        .env(DIRECTORY, path)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut acknowledged, mut seen) = (BTreeMap::new(), 0);
    let mut lines = BufReader::new(worker.stdout.take().unwrap());
    let mut line = String::new();
    // Whole lines only: what is cut off was not acknowledged.
    while lines.read_line(&mut line).unwrap() > 0 && line.ends_with('\n') {
        if let Some(rest) = line.trim_end().strip_prefix("acknowledged ") {
            let (caller, number) = rest.split_once(' ').unwrap();
            acknowledged.insert(caller.parse().unwrap(), number.parse().unwrap());
            seen += 1;
            if seen == acknowledgements {
                worker.kill().unwrap();
            }
        }
        line.clear();
    }
    worker.wait().unwrap();
    assert!(seen >= acknowledgements, "the process ended by itself");
    acknowledged
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_loses_nothing_and_leaves_nothing() {
    let seed = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| Timestamp::now().as_micros() as u64);
    println!("seed {seed}");
    let directory = tempfile::tempdir().unwrap();
    let (objects, _, plane) = open(directory.path()).await;
    objects.put_account(&account(), Limits { buckets: 2, ..Limits::default() }).await.unwrap();
    for (name, versioning) in [("plain", Versioning::Unversioned), ("versioned", Versioning::Enabled)] {
        let settings = mainstay_bucket::Settings { versioning, ..Default::default() };
        let new = NewBucket { name: name.parse().unwrap(), account: account(), settings };
        objects.create_bucket(new).await.unwrap();
    }
    objects.close().await;
    plane.close().await;
    drop((objects, plane));

    let mut first = 0;
    for round in 0..ROUNDS {
        let random = blake3::hash(&(seed + round).to_le_bytes());
        let acknowledgements = 1 + u64::from(random.as_bytes()[0]) * 2;
        let acknowledged = work_and_kill(directory.path(), first, acknowledgements);
        let (objects, store, plane) = open(directory.path()).await;
        for (caller, last) in &acknowledged {
            check_caller(&objects, *caller, first, *last).await;
        }
        check(&store, &objects, held(&plane).await).await;
        objects.keep(Timestamp::now()).await.unwrap();
        let held = held(&plane).await;
        let rows = store.read(mainstay_storage::Statement::new("SELECT count(*) FROM contents", [])).await.unwrap();
        assert_eq!(rows[0].integer(0).unwrap() as usize, held.len(), "nothing is left that nobody refers to");
        check(&store, &objects, held).await;
        let report = objects.scrub(None, &|_| {}).await.unwrap();
        assert_eq!((report.damaged.len(), report.unread), (0, 0), "{:?}", report.damaged);
        first = acknowledged.values().max().unwrap() + 2;
        objects.close().await;
        plane.close().await;
    }
}

async fn held(plane: &FsPlane) -> Vec<mainstay_dataplane::Address> {
    let stored = plane.contents(Owner::Objects, None, 1_000_000).await.unwrap();
    stored.into_iter().map(|stored| stored.address).collect()
}

/// What a caller was told is there: its last change of each key, or the one that it was about to make.
async fn check_caller(objects: &Objects, caller: u64, first: u64, last: u64) {
    for place in 0..5 {
        let key = format!("{caller}/{place}");
        let done = (first..=last).rev().find(|number| number % 5 == place);
        let Some(done) = done else { continue };
        let state = |number: u64| (number % 7 != 6).then(|| content(caller, number));
        let found = match objects.head(&bucket(caller), &key.parse().unwrap(), None).await {
            Ok(version) => Some(bytes_of(objects.read(&version, None).await.unwrap()).await.unwrap()),
            Err(_) => None,
        };
        let next = last + 1;
        let allowed = found == state(done) || (next % 5 == place && found == state(next));
        assert!(allowed, "{key} after {last} acknowledged changes is neither change {done} nor the next");
    }
}
