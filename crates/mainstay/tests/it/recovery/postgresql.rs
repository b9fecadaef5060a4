//! PostgreSQL: a data directory that is gone, one database of many, damage, and kills in the middle.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use super::protected;
use crate::harness::{Chance, Layer, kill_process, runtime, soak, until, uri_of, with_seeds};

/// Longer than any backup, drill or restore here takes, on a machine that compiles beside it.
const PATIENCE: Duration = Duration::from_secs(180);
/// What may be lost with a data directory, of what was acknowledged.
const MOST_LOST: Duration = Duration::from_secs(1);
const SHARED: &str = "postgresql-shared";

#[test]
fn a_data_directory_that_is_gone_comes_back_with_what_was_acknowledged() {
    let layer = protected();
    layer.create("shop");
    let bound = layer.bind("shop", "web");
    let uri = uri_of(&bound);
    layer.psql(&uri, "CREATE TABLE writes (number bigint PRIMARY KEY)");
    succeed(Command::new("pgbench").args(["-i", "-q", "-s", "2", &uri]));
    layer.cli(&["backup", "shop"]).succeed();
    let load = Command::new("pgbench")
        .args(["-c", "2", "-T", "600", "-n", &uri])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let mut load = load.unwrap();
    let writer = Writer::start(uri.clone());
    writer.wait_for(300);
    layer.cli(&["drill", "shop"]).succeed();
    let drilled = layer.api().get("/api/v1/instances/shop").expect(200);
    assert_eq!(drilled["recovery"]["state"], "proven", "{drilled}");

    let data = layer.data_dir().join("clusters").join(SHARED).join("data");
    let postmaster = layer.postmaster(SHARED);
    std::fs::remove_dir_all(&data).ok();
    kill_process(postmaster);
    let acknowledged = writer.finish();
    load.kill().ok();
    load.wait().unwrap();
    failed(&layer);

    let restored = layer.cli(&["restore", "shop", "--yes"]);
    assert_eq!(restored.code, 0, "{restored:?}");
    let newest: i64 = layer.psql(&uri, "SELECT coalesce(max(number), 0) FROM writes").parse().unwrap();
    let there: i64 = layer.psql(&uri, "SELECT count(*) FROM writes").parse().unwrap();
    assert_eq!(there, newest, "there is no hole in what came back");
    let last = acknowledged.last().unwrap().1;
    let first_lost = acknowledged.get(usize::try_from(newest).unwrap()).map_or(last, |(_, at)| *at);
    let lost = last.duration_since(first_lost);
    println!(
        "of {} acknowledged commits {newest} came back: {lost:?} lost; the drill measured a loss of {} s",
        acknowledged.len(),
        drilled["recovery"]["rpo_seconds"]
    );
    assert!(lost < MOST_LOST, "{lost:?} of acknowledged commits are lost");
    assert!(drilled["recovery"]["rpo_seconds"].as_f64().unwrap() < 2.0 * MOST_LOST.as_secs_f64(), "{drilled}");
    layer.psql(&uri, "INSERT INTO writes VALUES (-1)");

    // What came back goes on being protected, on its new timeline.
    layer.cli(&["backup", "shop"]).succeed();
    layer.cli(&["drill", "shop"]).succeed();
}

#[test]
fn a_moment_between_two_writes_is_had_as_a_copy_and_in_place() {
    let layer = protected();
    for name in ["shop", "blog"] {
        layer.create(name);
    }
    let (uri, other) = (uri_of(&layer.bind("shop", "web")), uri_of(&layer.bind("blog", "web")));
    layer.psql(&uri, "CREATE TABLE t (a int); INSERT INTO t VALUES (1)");
    layer.psql(&other, "CREATE TABLE t (a int)");
    // What an application had before there was any backup is refused as a moment.
    let early = now(&layer, &uri);
    layer.cli(&["backup", "shop"]).succeed();
    layer.psql(&uri, "INSERT INTO t VALUES (2)");
    let between = now(&layer, &uri);
    layer.psql(&uri, "INSERT INTO t VALUES (3)");
    let after = now(&layer, &uri);
    let refused = layer.cli(&["restore", "shop", "--at", &early, "--yes"]).fail(1);
    assert!(refused.contains("can not be restored to") && refused.contains("use a time within"), "{refused}");
    let refused = layer.cli(&["restore", "shop", "--at", "2199-01-01T00:00:00Z", "--yes"]).fail(1);
    assert!(refused.contains("use a time within"), "{refused}");
    let window =
        layer.api().post("/api/v1/instances/shop/restores", &json!({ "at": early })).expect(422)["window"].take();
    assert!(window["earliest"].as_str().unwrap() > early.as_str() && window["gaps"] == json!([]), "{window}");
    reached(&layer, "shop", &after);

    layer.cli(&["restore", "shop", "--at", &between, "--to", "before"]).succeed();
    let copy = uri_of(&layer.bind("before", "web"));
    assert_eq!(layer.psql(&copy, "SELECT a FROM t ORDER BY a"), "1\n2");
    assert_eq!(layer.psql(&uri, "SELECT a FROM t ORDER BY a"), "1\n2\n3");
    layer.psql(&other, "INSERT INTO t VALUES (7)");
    layer.cli(&["restore", "shop", "--at", &between, "--yes"]).succeed();
    assert_eq!(layer.psql(&uri, "SELECT a FROM t ORDER BY a"), "1\n2", "in place, with the binding of before");
    assert_eq!(layer.psql(&other, "SELECT a FROM t"), "7", "nobody else is touched");
    layer.cli(&["restore", "shop", "--at", &after, "--yes"]).succeed();
    assert_eq!(layer.psql(&uri, "SELECT a FROM t ORDER BY a"), "1\n2\n3", "what was replaced is had back");
}

#[test]
fn what_was_deleted_comes_back_as_it_was_last() {
    let layer = protected();
    layer.create("shop");
    layer.create_with("own", "dedicated");
    for name in ["shop", "own"] {
        let uri = uri_of(&layer.bind(name, "web"));
        layer.psql(&uri, "CREATE TABLE t (a int); INSERT INTO t VALUES (1)");
        layer.cli(&["backup", name]).succeed();
        layer.psql(&uri, "INSERT INTO t VALUES (2)");
        let written = now(&layer, &uri);
        reached(&layer, name, &written);
        let deleted = layer.cli(&["delete", name, "--force", "--yes"]);
        assert!(deleted.code == 0 && deleted.stderr.contains(&format!("mainstay restore {name}")), "{deleted:?}");
        layer.cli(&["get", name]).fail(1);
    }
    for name in ["shop", "own"] {
        assert_eq!(layer.api().all(&format!("/api/v1/instances/{name}/backups")).len(), 1);
        let refused = layer.cli(&["restore", name, "--at", "2199-01-01T00:00:00Z", "--yes"]).fail(1);
        assert!(refused.contains("use a time within"), "{refused}");
        // Nobody is asked: nothing can be replaced.
        layer.cli(&["restore", name]).succeed();
        let uri = uri_of(&layer.bind(name, "web"));
        assert_eq!(layer.psql(&uri, "SELECT a FROM t ORDER BY a"), "1\n2", "{name}");
    }
    layer.cli(&["delete", "shop", "--force", "--yes"]).succeed();
    // The log has it, although no backup was made while it was there.
    layer.cli(&["restore", "shop", "--to", "shop2"]).succeed();
    let uri = uri_of(&layer.bind("shop2", "web"));
    assert_eq!(layer.psql(&uri, "SELECT a FROM t ORDER BY a"), "1\n2");
}

#[test]
fn what_its_owner_asserts_is_looked_at() {
    let layer = protected();
    layer.create("shop");
    let uri = uri_of(&layer.bind("shop", "web"));
    layer.psql(&uri, "CREATE TABLE orders (a int); INSERT INTO orders VALUES (1)");
    layer.cli(&["backup", "shop"]).succeed();
    layer.cli(&["protect", "shop", "--assert", "SELECT count(*) FROM orders=>2"]).succeed();
    let state = |wanted: &str| {
        until("the drill has ended", PATIENCE, || {
            let instance = layer.api().get("/api/v1/instances/shop").expect(200);
            (instance["recovery"]["state"] == wanted).then_some(instance)
        })
    };
    let failed = state("failed");
    assert!(failed["recovery"]["reason"].as_str().unwrap().contains("orders"), "{failed}");
    layer.cli(&["protect", "shop", "--assert", "SELECT count(*) FROM orders=>1"]).succeed();
    state("proven");
    let drills = layer.api().all("/api/v1/drills");
    let states: Vec<_> = drills.iter().map(|drill| drill["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["failed", "passed"], "{drills:?}");
}

#[test]
fn a_flipped_bit_is_found_by_verify_and_by_the_drill_and_an_older_backup_is_good() {
    let layer = protected();
    layer.create("shop");
    let uri = uri_of(&layer.bind("shop", "web"));
    layer.psql(&uri, "CREATE TABLE t AS SELECT generate_series(1, 1000) AS a");
    layer.cli(&["backup", "shop"]).succeed();
    let first = backups(&layer).pop().unwrap();
    // The second backup is to have packs of its own, full of what no compressor makes smaller.
    let noise = "INSERT INTO t SELECT (random() * 1e9)::int FROM generate_series(1, 300000)";
    layer.psql(&uri, noise);
    let moment = SystemTime::now();
    layer.cli(&["backup", "shop"]).succeed();
    let second = backups(&layer).pop().unwrap();
    assert_ne!(first, second);
    let damaged = flip_bits_after(&layer.repository().join("packs"), moment);
    assert!(damaged > 0);

    let verified = layer.cli(&["repository", "verify"]);
    assert_eq!(verified.code, 1, "{verified:?}");
    assert!(format!("{verified:?}").contains(&second), "it names the backup: {verified:?}");
    let drilled = layer.cli(&["drill", "shop"]).fail(1);
    assert!(drilled.contains("damaged") || drilled.contains("not whole"), "{drilled}");
    let instance = layer.api().get("/api/v1/instances/shop").expect(200);
    assert_eq!(instance["recovery"]["state"], "failed", "{instance}");
    layer.cli(&["restore", "shop", "--at", &first, "--to", "older"]).succeed();
    let older = uri_of(&layer.bind("older", "web"));
    assert_eq!(layer.psql(&older, "SELECT count(*) FROM t"), "1000");
    assert_eq!(layer.psql(&uri, "SELECT count(*) FROM t"), "301000");
}

#[test]
fn kills_in_the_middle_leave_nothing_behind() {
    with_seeds(2, killed);
}

#[test]
fn soak_killed_recovery() {
    soak(killed);
}

fn killed(seed: u64) {
    let mut layer = protected();
    let mut chance = Chance::new(seed);
    layer.create("shop");
    let uri = uri_of(&layer.bind("shop", "web"));
    layer.psql(&uri, "CREATE TABLE t AS SELECT generate_series(1, 20000) AS a");
    layer.cli(&["backup", "shop"]).succeed();
    for (path, longest) in [("backups", 1_500), ("drills", 4_000), ("restores", 4_000)] {
        let operation = layer.api().post(&format!("/api/v1/instances/shop/{path}"), &json!({})).expect(202);
        let moment = Instant::now() + Duration::from_millis(chance.pick(0..longest));
        until("the moment has come", PATIENCE, || (Instant::now() >= moment).then_some(()));
        layer.kill();
        layer.restart_in_trouble();
        let id = operation["id"].as_str().unwrap();
        let ended = until("it has ended", PATIENCE, || {
            let operation = layer.api().get(&format!("/api/v1/operations/{id}")).expect(200);
            (operation["state"] != "in progress").then_some(operation)
        });
        assert_eq!(ended["state"], "succeeded", "{path}: {ended}");
        assert_eq!(layer.psql(&uri, "SELECT count(*) FROM t"), "20000", "{path}");
    }
    let clusters = std::fs::read_dir(layer.data_dir().join("clusters")).unwrap();
    let names: Vec<_> = clusters.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, [SHARED], "no scratch cluster is left");
    assert_eq!(layer.cli(&["repository", "verify"]).code, 0);
}

/// A client that counts, and remembers when each of its commits was acknowledged.
struct Writer {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<std::sync::Mutex<Vec<(i64, Instant)>>>,
    thread: JoinHandle<()>,
}

impl Writer {
    fn start(uri: String) -> Self {
        let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let thread = std::thread::spawn({
            let (stop, acknowledged) = (stop.clone(), Arc::clone(&acknowledged));
            move || runtime().block_on(write(uri, &stop, &acknowledged))
        });
        Self { stop, acknowledged, thread }
    }

    fn wait_for(&self, commits: usize) {
        until("so much is written", PATIENCE, || (self.acknowledged.lock().unwrap().len() >= commits).then_some(()));
    }

    /// Waits until it can write no more.
    fn finish(self) -> Vec<(i64, Instant)> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap();
        std::mem::take(&mut *self.acknowledged.lock().unwrap())
    }
}

async fn write(uri: String, stop: &AtomicBool, acknowledged: &std::sync::Mutex<Vec<(i64, Instant)>>) {
    let mut connection = PgConnection::connect(&uri).await.unwrap();
    for number in 1.. {
        let written = sqlx::query("INSERT INTO writes VALUES ($1)").bind(number).execute(&mut connection).await;
        match written {
            Ok(_) => acknowledged.lock().unwrap().push((number, Instant::now())),
            // The server was killed: that is what this client is for.
            Err(_) => return,
        }
        if stop.load(Ordering::SeqCst) {
            return;
        }
    }
}

fn failed(layer: &Layer) {
    until("the instance has failed", PATIENCE, || {
        (layer.api().get("/api/v1/instances/shop").expect(200)["state"] == "failed").then_some(())
    });
}

/// Waits until a moment can be had back.
fn reached(layer: &Layer, name: &str, moment: &str) {
    until("the log has come so far", PATIENCE, || {
        let recovery = layer.api().get(&format!("/api/v1/instances/{name}/recovery")).expect(200);
        (recovery["window"]["latest"].as_str()? >= moment).then_some(())
    });
}

/// The server's time, as the API writes times.
fn now(layer: &Layer, uri: &str) -> String {
    layer.psql(uri, r#"SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"#)
}

fn backups(layer: &Layer) -> Vec<String> {
    let listed = layer.api().all("/api/v1/instances/shop/backups");
    listed.iter().map(|backup: &Value| backup["id"].as_str().unwrap().to_owned()).collect()
}

/// Flips a bit in the middle of each file that was written after a moment; answers how many.
fn flip_bits_after(directory: &Path, moment: SystemTime) -> usize {
    let mut flipped = 0;
    for file in files(directory) {
        if std::fs::metadata(&file).unwrap().modified().unwrap() > moment {
            let mut bytes = std::fs::read(&file).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(&file, bytes).unwrap();
            flipped += 1;
        }
    }
    flipped
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn succeed(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
}
