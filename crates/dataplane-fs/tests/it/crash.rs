//! `kill -9` at random points of mixed work.
//!
//! The child process is this test binary, told by its environment to work in a directory: a few tasks ingest, delete and
//! reclaim at the same time, and say on standard output what they begin and what was answered. The parent kills it, opens
//! the store, and holds it against what it was told. `MAINSTAY_SOAK_ROUNDS` says how often, `MAINSTAY_SEED` with which
//! seed.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use mainstay_dataplane::{
    Address, Claim, Compression, DataPlane, Delete, Deletion, Hints, Inventory, ServeError, Verify,
};
use mainstay_dataplane_fs::{FsConfig, FsPlane};

use crate::{OWNERS, busy, empties, everything, files, flip, ingest, key, next, noise, open, read, record_of, source};

/// Tells the child where to work.
const DIRECTORY: &str = "MAINSTAY_TEST_STORE_DIRECTORY";

/// Rounds of a plain `cargo test`.
const ROUNDS: u64 = 8;

/// Contents that are worked on: few, so that they meet each other.
const CONTENTS: u64 = 60;

/// What the parent knows of an owner's claim on a content.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    /// The claim that was answered last, where it was not given up since.
    claim: Option<Claim>,
    /// An ingest has begun since; it may have claimed the content.
    ingesting: bool,
    /// A deletion has begun since; it may have given the claim up.
    deleting: bool,
}

type Model = BTreeMap<(usize, u64), Known>;

#[test]
fn a_store_survives_its_process() {
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
    let mut model = Model::new();
    let mut directory = tempfile::tempdir().unwrap();
    let mut answers = 0;
    for round in 0..rounds {
        chance = next(chance);
        answers += work_and_be_killed(directory.path(), chance, &mut model);
        runtime.block_on(async {
            if chance.is_multiple_of(3) {
                same_without_index(directory.path()).await;
            }
            let plane = open(directory.path(), busy()).await;
            holds(&plane, &mut model).await;
            if round % 5 == 4 || round + 1 == rounds {
                empties(directory.path(), &plane).await;
                model.clear();
            } else {
                plane.close().await;
            }
        });
        if model.is_empty() {
            directory = tempfile::tempdir().unwrap();
        }
    }
    println!("{rounds} processes were killed, {answers} answers held");
    assert!(answers > rounds, "{answers} answers in {rounds} rounds prove nothing");
}

/// The child.
#[test]
fn a_process_that_is_killed() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let seed: u64 = std::env::var("MAINSTAY_SEED").unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(3).enable_all().build().unwrap();
    runtime.block_on(async {
        let plane = open(Path::new(&directory), busy()).await;
        say("ready");
        let tasks = (0..8).map(|task| tokio::spawn(work(plane.clone(), task, next(seed + task))));
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
    });
}

/// Works until the process is killed. A task has a part of an owner's claims for itself, and shares contents with others.
async fn work(plane: FsPlane, task: u64, seed: u64) {
    let owner = (task % 3) as usize;
    let mut chance = seed;
    let mut claims: BTreeMap<u64, Claim> = BTreeMap::new();
    loop {
        chance = next(chance);
        let id = chance % (CONTENTS / 3) * 3 + task / 3;
        match (chance >> 20) % 40 {
            0 => drop(plane.reclaim().await),
            1..15 if claims.contains_key(&id) => {
                let claim = claims.remove(&id).unwrap();
                say(&format!("delete {owner} {id}"));
                let request = Delete { owner: OWNERS[owner], address: Address::of(&content(id)), claim };
                assert_eq!(plane.delete_object(request).await.unwrap(), Deletion::Deleted);
                say(&format!("deleted {owner} {id}"));
            }
            15 => {
                // Dropped half-way: nothing of it, or the whole.
                say(&format!("ingest {owner} {id}"));
                let ingesting = plane.ingest_stream(source(&content(id)), hints(owner, id));
                let _ = tokio::time::timeout(Duration::from_micros(chance % 3000), ingesting).await;
                // It may have a claim that nobody was told of.
                claims.remove(&id);
            }
            _ => {
                say(&format!("ingest {owner} {id}"));
                let receipt = plane.ingest_stream(source(&content(id)), hints(owner, id)).await.unwrap();
                assert_eq!(receipt.address, Address::of(&content(id)));
                claims.insert(id, receipt.claim);
                say(&format!("ingested {owner} {id} {}", receipt.claim.0));
            }
        }
    }
}

fn content(id: u64) -> Bytes {
    let len = match id % 10 {
        0 => 1,
        1..6 => 500 + id as usize * 97,
        6 | 7 => 30_000 + id as usize,
        8 => 70_000 + id as usize * 1000,
        _ => 700_000 + id as usize,
    };
    noise(id + 1, len)
}

fn hints(owner: usize, id: u64) -> Hints {
    let compression = if id.is_multiple_of(7) { Compression::Zstd } else { Compression::None };
    // One owner encrypts what others keep in plain.
    let key = (id % 4 == 1 && owner == 2).then(key);
    Hints { compression, key, ..Hints::plain(OWNERS[owner]) }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // At once, and as one write: what was said before the end was said.
    out.write_all(format!("\n>{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

/// Lets a child work for a while, kills it, and notes what it said. Answers how many answers it had.
fn work_and_be_killed(directory: &Path, chance: u64, model: &mut Model) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::a_process_that_is_killed", "--nocapture"])
        .env(DIRECTORY, directory)
        .env("MAINSTAY_SEED", (chance % 1_000_000).to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // Some are killed while they open the store.
    let opened = !chance.is_multiple_of(4);
    while opened && lines.next().expect("the child begins to work").unwrap() != ">ready" {}
    let (killed, end) = (
        Arc::new(std::sync::Mutex::new(child)),
        Duration::from_micros(if opened { chance % 400_000 } else { chance % 40_000 }),
    );
    let killer = std::thread::spawn({
        let killed = Arc::clone(&killed);
        move || {
            std::thread::sleep(end);
            killed.lock().unwrap().kill().unwrap();
        }
    });
    let mut answers = 0;
    for line in lines {
        let line = line.unwrap();
        let mut words = line.split(' ');
        let Some(what) = words.next().and_then(|what| what.strip_prefix('>')) else { continue };
        if what == "ready" {
            continue;
        }
        let mut number = || words.next().unwrap().parse::<u64>().unwrap();
        let known = model.entry((number() as usize, number())).or_default();
        match what {
            "ingest" => known.ingesting = true,
            "ingested" => *known = Known { claim: Some(Claim(number())), ..Known::default() },
            "delete" => known.deleting = true,
            // A dropped ingest may have claimed it before or after.
            "deleted" => *known = Known { ingesting: known.ingesting, ..Known::default() },
            other => panic!("the child said {other:?}"),
        }
        answers += u64::from(what.ends_with("ed"));
    }
    killer.join().unwrap();
    let status = killed.lock().unwrap().wait().unwrap();
    assert_eq!(status.signal(), Some(9), "the child should have worked until it was killed");
    answers
}

/// The log alone leads to what the index and the log lead to.
async fn same_without_index(directory: &Path) {
    let plane = open(directory, busy()).await;
    let with = everything(&plane).await;
    let health = plane.backend_health().await;
    plane.close().await;
    std::fs::remove_file(directory.join("index.redb")).unwrap();
    let plane = open(directory, busy()).await;
    assert_eq!(everything(&plane).await, with);
    let anew = plane.backend_health().await;
    assert_eq!((anew.contents, anew.stored_bytes), (health.contents, health.stored_bytes));
    plane.close().await;
}

/// What was answered is so, and what is there is whole. Afterwards nothing is uncertain any more.
async fn holds(plane: &FsPlane, model: &mut Model) {
    let found = everything(plane).await;
    let mut addresses = BTreeMap::new();
    for id in 0..CONTENTS {
        addresses.insert(Address::of(&content(id)), id);
    }
    let mut claims: BTreeMap<(usize, u64), Claim> = BTreeMap::new();
    for (owner, stored) in &found {
        let id = addresses[&stored.address];
        let owner = OWNERS.iter().position(|other| other == owner).unwrap();
        claims.insert((owner, id), stored.claim);
        whole(plane, id, &content(id)).await;
    }
    for (&(owner, id), known) in model.iter() {
        let about = format!("content {id} of {:?}: {known:?}", OWNERS[owner]);
        match (claims.get(&(owner, id)), known.claim) {
            (Some(found), Some(claim)) if *found == claim => {}
            (Some(found), claim) => {
                assert!(known.ingesting && claim.is_none_or(|claim| *found > claim), "{about}, but {found:?}");
            }
            (None, Some(_)) => assert!(known.deleting, "{about}, but it is gone"),
            (None, None) => {}
        }
    }
    for id in 0..CONTENTS {
        if (0..OWNERS.len()).all(|owner| !claims.contains_key(&(owner, id))) {
            let address = Address::of(&content(id));
            assert_eq!(read(plane, address, None).await, Err(ServeError::Absent(address)), "content {id}");
        }
    }
    // What the next process does not know of it gives up, as an owner does with what nobody refers to.
    for (&(owner, id), &claim) in &claims {
        let request = Delete { owner: OWNERS[owner], address: Address::of(&content(id)), claim };
        if id % 2 == 0 {
            assert_eq!(plane.delete_object(request).await.unwrap(), Deletion::Deleted);
        }
    }
    *model = claims
        .into_iter()
        .filter(|((_, id), _)| id % 2 == 1)
        .map(|(of, claim)| (of, Known { claim: Some(claim), ..Known::default() }))
        .collect();
}

async fn whole(plane: &FsPlane, id: u64, content: &Bytes) {
    let address = Address::of(content);
    let key = match plane.verify_object(Verify { address, key: None }).await {
        Ok(_) => None,
        Err(ServeError::KeyNeeded(_)) => Some(key()),
        Err(error) => panic!("content {id} is kept, but {error}"),
    };
    plane.verify_object(Verify { address, key: key.clone() }).await.unwrap();
    assert!(read(plane, address, key).await.unwrap() == *content, "content {id} is another");
}

/// What a power failure leaves of the records that were written last: nothing, a part, or all with a hole. They were never
/// answered for, and are gone; what was before them is whole, and what comes after them too.
#[tokio::test]
async fn records_that_were_left_unfinished_are_gone() {
    for torn in ["hole", "cut in the body", "cut in the note", "cut in the prefix"] {
        let directory = tempfile::tempdir().unwrap();
        let plane = open(directory.path(), FsConfig::default()).await;
        let (first, last, later) = (noise(1, 5000), noise(2, 6000), noise(3, 7000));
        let kept = ingest(&plane, &first).await;
        let gone = ingest(&plane, &last).await;
        plane.close().await;
        let record = record_of(directory.path(), &gone.address).unwrap();
        let cut =
            |len: usize| std::fs::File::options().write(true).open(&record.pack).unwrap().set_len(len as u64).unwrap();
        match torn {
            "hole" => flip(&record.pack, record.end - 3000),
            "cut in the body" => cut(record.end - 3000),
            "cut in the note" => cut(record.at + 60),
            _ => cut(record.at + 20),
        }
        let mut after = None;
        for _ in 0..3 {
            // Without an index all of the log is read each time.
            std::fs::remove_file(directory.path().join("index.redb")).unwrap();
            let plane = open(directory.path(), FsConfig::default()).await;
            assert_eq!(read(&plane, gone.address, None).await, Err(ServeError::Absent(gone.address)), "{torn}");
            assert_eq!(read(&plane, kept.address, None).await.unwrap(), first, "{torn}");
            if let Some(address) = after {
                assert_eq!(read(&plane, address, None).await.unwrap(), later, "{torn}");
            }
            after = Some(ingest(&plane, &later).await.address);
            assert_eq!(plane.backend_health().await.contents, 2, "{torn}");
            plane.close().await;
        }
    }
}

/// A process was killed while it began a pack: room was taken for it, and its head was not written or only in part.
#[tokio::test]
async fn a_pack_that_was_half_begun_is_gone() {
    for head in [0, 20, 600] {
        let directory = tempfile::tempdir().unwrap();
        let plane = open(directory.path(), FsConfig::default()).await;
        let content = noise(1, 5000);
        let address = ingest(&plane, &content).await.address;
        plane.close().await;
        let path = directory.path().join("packs/00000002.pack");
        let begun = std::fs::File::create(&path).unwrap();
        rustix::fs::fallocate(&begun, rustix::fs::FallocateFlags::empty(), 0, 2 << 20).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&begun, &vec![7; head], 0).unwrap();
        drop(begun);
        let plane = open(directory.path(), FsConfig::default()).await;
        assert!(!path.exists(), "{head} bytes of its head were written");
        assert_eq!(read(&plane, address, None).await.unwrap(), content);
        empties(directory.path(), &plane).await;
    }
}

/// A process was killed after it began a pack, and before it gave back the room that the one before had in advance.
#[tokio::test]
async fn room_that_a_full_pack_has_in_advance_is_given_back() {
    let directory = tempfile::tempdir().unwrap();
    let plane = open(directory.path(), FsConfig { tidy: false, ..busy() }).await;
    for seed in 1..200 {
        ingest(&plane, &noise(seed, 5000)).await;
    }
    let left = everything(&plane).await;
    plane.close().await;
    let packs = files(directory.path(), "packs");
    let before_last = &packs[packs.len() - 2];
    let len = before_last.metadata().unwrap().len();
    let pack = std::fs::File::options().write(true).open(before_last).unwrap();
    rustix::fs::fallocate(&pack, rustix::fs::FallocateFlags::empty(), len, 2 << 20).unwrap();
    std::fs::remove_file(directory.path().join("index.redb")).unwrap();
    let plane = open(directory.path(), busy()).await;
    assert_eq!(before_last.metadata().unwrap().len(), len);
    assert_eq!(everything(&plane).await, left);
    empties(directory.path(), &plane).await;
}
