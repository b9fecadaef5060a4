//! `kill -9` at random points of mixed work.
//!
//! The child process is this test binary, told by its environment to work in a directory: a few tasks ingest, give up, write documents,
//! give room back and bring a copy up to date at the same time, and say on standard output what they begin and what was answered. The
//! parent kills it, opens the repository, and holds it against what it was told; whatever the copy lists has to be whole. `MAINSTAY_SOAK_ROUNDS` says how often, `MAINSTAY_SEED` with
//! which seed.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use mainstay_dataplane::{Address, Claim, DataPlane, Delete, Deletion, Inventory, Owner, Verify};
use mainstay_repository::{Credentials, Location, OpenError, Repository, VerifyOptions};

use crate::{config, files, gives, ingest, key, next, noise, open};

/// Tells the child where to work.
const DIRECTORY: &str = "MAINSTAY_TEST_REPOSITORY_DIRECTORY";

/// Rounds of a plain `cargo test`.
const ROUNDS: u64 = 6;

/// Contents that are worked on: few, so that they meet each other. Each task has some for itself.
const CONTENTS: u64 = 24;
const TASKS: u64 = 4;

/// What the parent knows of a content.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    claim: Option<u64>,
    /// An ingest has begun since.
    ingesting: bool,
    /// A deletion has begun since.
    deleting: bool,
}

#[test]
fn a_repository_survives_its_process() {
    if std::env::var_os(DIRECTORY).is_some() {
        return;
    }
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = number("MAINSTAY_SEED").unwrap_or(since.as_micros() as u64 % 1_000_000_000);
    let rounds = number("MAINSTAY_SOAK_ROUNDS").unwrap_or(ROUNDS);
    println!("MAINSTAY_SEED={seed} MAINSTAY_SOAK_ROUNDS={rounds}");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut chance = next(seed | 1);
    let mut model = BTreeMap::new();
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().join("repository");
    let directory = directory.as_path();
    let (mut answers, mut copies) = (0, 0);
    for _ in 0..rounds {
        chance = next(chance);
        answers += work_and_be_killed(directory, chance, &mut model);
        runtime.block_on(holds(directory, &mut model));
        copies += u64::from(runtime.block_on(copy_holds(directory)));
    }
    runtime.block_on(empties(directory));
    println!("{rounds} processes were killed, {answers} answers held, {copies} times there was a copy");
    assert!(answers > rounds, "{answers} answers in {rounds} rounds prove nothing");
}

/// The child.
#[test]
fn a_process_that_is_killed() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let seed: u64 = std::env::var("MAINSTAY_SEED").unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(3).enable_all().build().unwrap();
    runtime.block_on(async {
        let repository = open(Path::new(&directory)).await;
        say("ready");
        let tasks = (0..TASKS).map(|task| tokio::spawn(work(repository.clone(), task, next(seed + task))));
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
    });
}

async fn work(repository: Repository, task: u64, seed: u64) {
    let mut chance = seed;
    let mut claims: BTreeMap<u64, Claim> = BTreeMap::new();
    loop {
        chance = next(chance);
        let id = chance % (CONTENTS / TASKS) * TASKS + task;
        match (chance >> 20) % 20 {
            0 => drop(repository.reclaim().await.unwrap()),
            1 => {
                let text = Bytes::from(format!("{task} {}", "x".repeat(chance as usize % 5000)));
                repository.put_document("points", &format!("d{task}"), text).await.unwrap();
            }
            2 if task == 0 => {
                drop(repository.mirror(&copy_of(repository.location()), &Credentials::None, |_| ()).await.unwrap())
            }
            2..9 if claims.contains_key(&id) => {
                let claim = claims.remove(&id).unwrap();
                say(&format!("delete {id}"));
                let request = Delete { owner: Owner::Backups, address: Address::of(&content(id)), claim };
                assert_eq!(repository.delete_object(request).await, Ok(Deletion::Deleted));
                say(&format!("deleted {id}"));
            }
            _ => {
                say(&format!("ingest {id}"));
                let receipt = ingest(&repository, &content(id)).await;
                claims.insert(id, receipt.claim);
                say(&format!("ingested {id} {}", receipt.claim.0));
            }
        }
    }
}

/// Half of it is shared with others, so that chunks outlive contents.
fn content(id: u64) -> Bytes {
    let own = noise(id + 100, [500, 40_000, 700_000][id as usize % 3]);
    let shared = noise(id % 5, 600_000);
    if id.is_multiple_of(4) { own } else { [&shared[..], &own[..]].concat().into() }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // At once, and as one write: what was said before the end was said.
    out.write_all(format!("\n>{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

fn work_and_be_killed(directory: &Path, chance: u64, model: &mut BTreeMap<u64, Known>) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::a_process_that_is_killed", "--nocapture"])
        .env(DIRECTORY, directory)
        .env("MAINSTAY_SEED", (chance % 1_000_000).to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while lines.next().expect("the child begins to work").unwrap() != ">ready" {}
    let end = Duration::from_micros(chance % 1_500_000);
    let killer = std::thread::spawn(move || {
        std::thread::sleep(end);
        child.kill().unwrap();
        child.wait().unwrap()
    });
    let mut answers = 0;
    for line in lines {
        let line = line.unwrap();
        let mut words = line.split(' ');
        let Some(what) = words.next().and_then(|what| what.strip_prefix('>')) else { continue };
        let mut number = || words.next().unwrap().parse::<u64>().unwrap();
        let known = model.entry(number()).or_default();
        match what {
            "ingest" => known.ingesting = true,
            "ingested" => *known = Known { claim: Some(number()), ..Known::default() },
            "delete" => known.deleting = true,
            "deleted" => *known = Known::default(),
            other => panic!("the child said {other:?}"),
        }
        answers += u64::from(what.ends_with("ed"));
    }
    let status = killer.join().unwrap();
    assert_eq!(status.signal(), Some(9), "the child should have worked until it was killed");
    answers
}

/// What was answered is so, and what is there is whole.
async fn holds(directory: &Path, model: &mut BTreeMap<u64, Known>) {
    let repository = open(directory).await;
    let found = repository.contents(Owner::Backups, None, 1000).await.unwrap();
    for id in 0..CONTENTS {
        let content = content(id);
        let known = model.get(&id).copied().unwrap_or_default();
        let stored = found.iter().find(|stored| stored.address == Address::of(&content));
        match (stored.map(|stored| stored.claim.0), known.claim) {
            (Some(found), claim) => {
                assert!(
                    Some(found) == claim || known.ingesting && claim.is_none_or(|claim| found > claim),
                    "{id}: {known:?}"
                );
                gives(&repository, &content).await;
                model.insert(id, Known { claim: Some(found), ..Known::default() });
            }
            (None, Some(_)) => {
                assert!(known.deleting, "content {id} is gone: {known:?}");
                model.remove(&id);
            }
            (None, None) => drop(model.remove(&id)),
        }
    }
    let report = repository.verify(VerifyOptions::default(), |_| ()).await.unwrap();
    assert!(report.is_whole(), "{report:#?}");
}

fn copy_of(location: &Location) -> Location {
    let Location::Directory(path) = location else { panic!("{location}") };
    Location::Directory(path.with_file_name("copy"))
}

/// What the copy has is whole, wherever it was broken off. Answers whether there is one.
async fn copy_holds(directory: &Path) -> bool {
    let copy = match Repository::open(config(&directory.with_file_name("copy")), &key()).await {
        Err(OpenError::Absent { .. }) => return false,
        copy => copy.unwrap(),
    };
    for stored in copy.contents(Owner::Backups, None, 1000).await.unwrap() {
        copy.verify_object(Verify { address: stored.address, key: None }).await.unwrap();
    }
    let report = copy.verify(VerifyOptions::default(), |_| ()).await.unwrap();
    assert!(report.is_whole(), "{report:#?}");
    true
}

/// Nothing is left when all is given up.
async fn empties(directory: &Path) {
    let repository = open(directory).await;
    for stored in repository.contents(Owner::Backups, None, 1000).await.unwrap() {
        let request = Delete { owner: Owner::Backups, address: stored.address, claim: stored.claim };
        assert_eq!(repository.delete_object(request).await, Ok(Deletion::Deleted));
    }
    repository.reclaim().await.unwrap();
    assert_eq!(files(directory, "packs").len() + files(directory, "unfinished").len(), 0);
    assert_eq!(files(directory, "index").len(), 1);
    repository.close().await.unwrap();
    assert_eq!(files(directory, "locks").len(), 0);
}
