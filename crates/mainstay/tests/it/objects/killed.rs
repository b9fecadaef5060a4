//! `kill -9` of the layer at random moments while objects are put, uploaded in parts, copied, deleted and collected: what
//! was acknowledged is whole, nothing is torn, listings show what is there, and no room is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use mainstay_dataplane::{Inventory, Owner};
use mainstay_dataplane_fs::{FsConfig, FsPlane};
use mainstay_objects::Objects;
use mainstay_storage::{Location, Service, Statement, Store};
use serde_json::json;

use super::Bound;
use super::churn::Client;
use crate::harness::{Chance, Layer, Options, runtime, soak, until, with_seeds};

const CLIENTS: u64 = 6;
/// The kill comes up to so many milliseconds after the clients have begun.
const LIVES: u64 = 700;
/// The shortest time of grace that can be configured.
const GRACE: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(60);
/// What a store takes that holds nothing: its own files, and the room that it keeps for deletions.
const EMPTY: u64 = 8 << 20;

#[test]
fn a_killed_layer_has_every_acknowledged_object_whole() {
    with_seeds(1, |seed| drop(killed(seed, 5)));
}

#[test]
fn soak_killed_with_objects() {
    soak(|seed| {
        let killed = killed(seed, 200);
        expect_no_room_lost(killed);
    });
}

struct Killed {
    layer: Layer,
    bound: Bound,
    clients: Vec<Client>,
}

/// Kills a layer so many times, and looks after each time what is there.
fn killed(seed: u64, kills: u64) -> Killed {
    let begun = Instant::now();
    let mut chance = Chance::new(seed);
    let runtime = runtime();
    let environment = vec![("Storage__ObjectStore__GraceSeconds", GRACE.as_secs().to_string())];
    let mut layer = Layer::start(Options { environment, ..Options::default() });
    let bound = Bound::new(&layer, "killed", json!({}));
    let mut clients: Vec<Client> =
        (0..CLIENTS).map(|name| Client::new(&bound, name, Chance::new(chance.pick(0..u64::MAX)))).collect();
    let mut kept = BTreeMap::new();
    for _ in 0..kills {
        kill_at_work(&mut layer, &mut clients, &mut chance);
        if chance.pick(0..2) == 0 {
            runtime.block_on(pass_grace(&layer));
        }
        // Some lives end while the store collects what is left of the ones before.
        if chance.pick(0..4) == 0 {
            layer.restart_in_trouble();
            layer.kill();
        }
        layer.restart_in_trouble();
        until("the S3 API answers", PATIENCE, || (bound.get("nothing").status == 404).then_some(()));
        kept = expect_whole(&bound, &mut clients);
    }
    layer.kill();
    let unanswered = clients.iter().map(|client| client.unanswered).sum::<u64>();
    runtime.block_on(expect_accounted_for(&layer, unanswered));
    layer.restart_in_trouble();
    let acknowledged = clients.iter().map(|client| client.acknowledged).sum::<u64>();
    println!(
        "{kills} kills in {:?}: {acknowledged} changes were acknowledged, {unanswered} requests were not answered, and {} \
         objects are there",
        begun.elapsed(),
        kept.len()
    );
    let log = layer.log();
    for trouble in ["panicked", "cannot remove", "is damaged"] {
        assert!(!log.contains(trouble), "the log tells that something {trouble}:\n{log}");
    }
    Killed { layer, bound, clients }
}

fn kill_at_work(layer: &mut Layer, clients: &mut [Client], chance: &mut Chance) {
    let life = Duration::from_millis(chance.pick(0..LIVES));
    std::thread::scope(|scope| {
        let end = Instant::now() + life;
        let threads: Vec<_> = clients.iter_mut().map(|client| scope.spawn(|| client.change_on())).collect();
        until("the moment has come", PATIENCE, || (Instant::now() >= end).then_some(()));
        // A client that met a refusal has failed the test already.
        let failed = threads.iter().any(|thread| thread.is_finished());
        layer.kill();
        assert!(!failed, "a client ended before the layer did");
    });
}

/// What the clients know, what they read, and what is listed are the same.
fn expect_whole(bound: &Bound, clients: &mut [Client]) -> BTreeMap<String, usize> {
    let kept: BTreeMap<String, usize> = std::thread::scope(|scope| {
        let threads: Vec<_> = clients.iter_mut().map(|client| scope.spawn(|| client.expect_whole())).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(bound.listed(), kept);
    kept
}

/// Makes what is unused as old as if the layer had been away for longer than the time of grace: it is collected with the
/// next start.
async fn pass_grace(layer: &Layer) {
    let index = open_index(layer).await;
    let sql = "UPDATE contents SET unused_since = unused_since - $1 WHERE unused_since IS NOT NULL";
    let longer = i64::try_from((2 * GRACE).as_micros()).unwrap();
    index.write(vec![Statement::new(sql, [longer.into()])]).await.unwrap();
    index.close().await;
}

/// All content that the index knows is kept, and what else is kept belongs to requests that the kills cut off.
async fn expect_accounted_for(layer: &Layer, unanswered: u64) {
    let (known, held) = (known(layer).await, held(layer).await);
    let missing = known.difference(&held).count();
    assert_eq!(missing, 0, "contents are in the index and not in the store");
    let left = held.difference(&known).count() as u64;
    println!("{left} contents wait for the search for what no request refers to");
    assert!(left <= unanswered, "{left} contents belong to nobody, where {unanswered} requests were cut off");
}

/// After everything is deleted and the time of grace has passed, nothing is left.
fn expect_no_room_lost(Killed { mut layer, bound, mut clients }: Killed) {
    until("the S3 API answers", PATIENCE, || (bound.get("nothing").status == 404).then_some(()));
    clients.iter_mut().for_each(Client::delete_all);
    bound.abort_uploads();
    assert_eq!(bound.listed(), BTreeMap::new());
    let deleted = Instant::now();
    layer.kill();
    until("the time of grace is over", 2 * GRACE, || {
        (deleted.elapsed() > GRACE + Duration::from_secs(1)).then_some(())
    });
    let runtime = runtime();
    let store = layer.data_dir().join("objects");
    let before = room(&store);
    // Each start searches for what no request refers to.
    until("nothing is kept but the store's own identity", PATIENCE, || {
        layer.restart_in_trouble();
        until("the S3 API answers", PATIENCE, || (bound.get("nothing").status == 404).then_some(()));
        layer.kill();
        let (known, held) = runtime.block_on(async { (known(&layer).await, held(&layer).await) });
        (held.len() == 1 && held == known).then_some(())
    });
    layer.restart_in_trouble();
    until("the room is given back", PATIENCE, || (room(&store) < EMPTY).then_some(()));
    println!("of {before} bytes {} are left {:?} after all was deleted", room(&store), deleted.elapsed());
}

async fn open_index(layer: &Layer) -> Store {
    let location = Location::Directory(layer.data_dir().join("storage"));
    Store::open(&location, Service::Objects, Objects::SCHEMA).await.unwrap()
}

/// The digests of all contents that the index refers to.
async fn known(layer: &Layer) -> BTreeSet<Vec<u8>> {
    let index = open_index(layer).await;
    let rows = index.read(Statement::new("SELECT address FROM contents", [])).await.unwrap();
    index.close().await;
    rows.iter().map(|row| row.blob(0).unwrap().to_vec()).collect()
}

/// The digests of all contents that are kept for objects.
async fn held(layer: &Layer) -> BTreeSet<Vec<u8>> {
    let plane = FsPlane::open(&layer.data_dir().join("objects"), FsConfig::default()).await.unwrap();
    let stored = plane.contents(Owner::Objects, None, 1_000_000).await.unwrap();
    plane.close().await;
    stored.iter().map(|stored| stored.address.digest().as_bytes().to_vec()).collect()
}

/// The bytes that a folder takes on the disk.
fn room(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => room(&entry.path()),
            Ok(metadata) => 512 * metadata.blocks(),
            // It was removed meanwhile.
            Err(_) => 0,
        })
        .sum()
}
