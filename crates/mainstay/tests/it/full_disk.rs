//! A full disk: what needs room is refused with the reason and the remedy, nothing is damaged, and when there is room
//! again everything goes on by itself.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use crate::harness::{
    Answer, Filler, Layer, Options, kill_process, may_mount, mount_small_disk, runtime, until, uri_of,
};

/// Less than the reserve that the layer keeps for itself, and enough for small writes to go on.
const LITTLE: u64 = 16 << 20;
/// A server in a crash loop is tried once a minute.
const PATIENCE: Duration = Duration::from_secs(100);

#[test]
fn what_needs_room_is_refused_while_the_rest_goes_on() {
    if !may_mount() {
        return;
    }
    let layer = on_small_disk();
    let api = layer.api();
    layer.create("shop");
    let bound = layer.bind("shop", "web");
    let runtime = runtime();
    let mut session = runtime.block_on(PgConnection::connect(&uri_of(&bound))).unwrap();
    runtime.block_on(sqlx::query("CREATE TABLE kept AS SELECT 42 AS answer").execute(&mut session)).unwrap();
    let mut answer =
        || -> i32 { runtime.block_on(sqlx::query_scalar("SELECT answer FROM kept").fetch_one(&mut session)).unwrap() };

    let mut filler = Filler::leave(&layer.data_dir(), LITTLE);
    let rotate = format!("/api/v1/bindings/{}/rotate", bound["id"].as_str().unwrap());
    expect_refused(&layer, &api.post("/api/v1/instances", &json!({ "name": "more", "contract": "postgresql/v1" })));
    expect_refused(&layer, &api.post("/api/v1/instances/shop/bindings", &json!({ "consumer": "more" })));
    expect_refused(&layer, &api.post(&rotate, &json!({})));
    for arguments in [&["create", "postgresql/v1", "more"][..], &["bind", "shop", "--consumer", "more"]] {
        let refusal = layer.cli(arguments).fail(1);
        assert!(
            refusal.contains(layer.data_dir().to_str().unwrap()) && refusal.contains("free some space"),
            "{refusal}"
        );
    }
    // Reads, sessions, and what takes away: with a reserve in hand that goes on.
    assert_eq!(api.get("/api/v1/instances/shop").expect(200)["state"], "ready");
    assert_eq!(answer(), 42);
    layer.psql(&uri_of(&bound), "INSERT INTO kept VALUES (43)");
    let renew = format!("/api/v1/bindings/{}/renew", bound["id"].as_str().unwrap());
    api.post(&renew, &json!({ "ttl": "2h" })).expect(200);

    // Not a byte is left: the journal itself can take nothing, and says so.
    filler.shrink_to(0);
    let refused = until("the journal is full", PATIENCE, || {
        let answer = api.post(&renew, &json!({ "ttl": "3h" }));
        (answer.status != 200).then_some(answer)
    });
    assert_eq!((refused.status, &refused.body["code"]), (507, &json!("storage_full")), "{refused:?}");
    assert_eq!(api.get("/api/v1/instances/shop").expect(200)["state"], "ready");
    assert!(!layer.events().is_empty());
    assert_eq!(answer(), 42);

    drop(filler);
    let emptied = Instant::now();
    until("a binding is made again", PATIENCE, || {
        let answer = api.post("/api/v1/instances/shop/bindings?wait=60s", &json!({ "consumer": "more" }));
        (answer.status == 201).then_some(())
    });
    println!("bindings are made again {:?} after there is room", emptied.elapsed());
    layer.create("more");
    assert_eq!(answer(), 42, "the session was never disturbed");
    expect_whole(layer);
}

#[test]
fn a_server_that_fills_the_disk_itself_comes_back_with_every_acknowledged_row() {
    if !may_mount() {
        return;
    }
    let layer = on_small_disk();
    layer.create("shop");
    let uri = uri_of(&layer.bind("shop", "web"));
    layer.psql(&uri, "CREATE TABLE bulk (batch int, noise text)");
    let mut filler = Filler::leave(&layer.data_dir(), 2 * LITTLE);

    // Noise that does not compress, a megabyte at a time, until there is no room for more.
    let insert = "INSERT INTO bulk SELECT $1, (SELECT string_agg(md5(random()::text || n || i), '') \
                  FROM generate_series(1, 320) AS i) FROM generate_series(1, 100) AS n";
    let runtime = runtime();
    let mut acknowledged = 0;
    let failure = runtime.block_on(async {
        let mut session = PgConnection::connect(&uri).await.unwrap();
        loop {
            match sqlx::query(insert).bind(acknowledged + 1).execute(&mut session).await {
                Ok(_) => acknowledged += 1,
                Err(error) => break error,
            }
        }
    });
    println!("{acknowledged} MB were acknowledged before: {failure}");
    assert!(acknowledged > 0);
    // The worst of it: the server ends as well, and can not recover where it can not write.
    filler.shrink_to(0);
    kill_process(layer.postmaster("postgresql-shared"));
    until("the layer says that the server does not come up", PATIENCE, || {
        let answer = layer.api().get("/readyz");
        (answer.status == 503 && answer.text.contains("No space left on device")).then_some(())
    });
    drop(filler);
    let emptied = Instant::now();
    until("the server takes rows again", PATIENCE, || layer.try_psql(&uri, "INSERT INTO bulk VALUES (0, '')").ok());
    println!("rows are taken again {:?} after there is room", emptied.elapsed());
    let batches = layer.psql(&uri, "SELECT count(DISTINCT batch) FROM bulk WHERE batch > 0 AND length(noise) = 10240");
    assert!(batches.parse::<i32>().unwrap() >= acknowledged, "{batches} of {acknowledged} batches are there");
    until("the layer is ready", PATIENCE, || layer.is_ready().then_some(()));
    layer.create("more");
    expect_whole(layer);
}

#[test]
fn caches_that_fill_the_disk_say_so_and_keep_every_acknowledged_key() {
    if !may_mount() {
        return;
    }
    let layer = on_small_disk();
    let api = layer.api();
    // One server goes on and refuses writes; the other acknowledges nothing that is not on disk, and ends where it can not be.
    let [durable, synced] = ["durable", "synced"].map(|persistence| {
        let wanted =
            json!({ "name": persistence, "contract": "redis/v1", "parameters": { "persistence": persistence } });
        api.post("/api/v1/instances?wait=60s", &wanted).expect(200);
        Cache { name: persistence, uri: uri_of(&layer.bind(persistence, "web")), keys: 0 }
    });
    for (mut cache, expected, reason) in [
        (durable, "No space left on device", Some("its append-only file can not be written: is the disk full?")),
        (synced, "Server closed the connection", None),
    ] {
        let filler = Filler::leave(&layer.data_dir(), LITTLE);
        let refusal = cache.fill();
        assert!(refusal.contains(expected), "{refusal}");
        println!("{} MB were acknowledged before: {refusal}", cache.keys);
        let path = format!("/api/v1/instances/{}", cache.name);
        let instance = || api.get(&path).expect(200);
        let is_well = || {
            let instance = instance();
            (instance["state"] == "ready" && instance["reason"].is_null()).then_some(())
        };
        if let Some(reason) = reason {
            until("the instance says why, also where the journal has no room left", PATIENCE, || {
                instance()["reason"].as_str().is_some_and(|told| told.contains(reason)).then_some(())
            });
        }
        // What was there is read all the while.
        until("its keys are read", PATIENCE, || cache.has_every_key().then_some(()));

        drop(filler);
        let emptied = Instant::now();
        until("it takes keys again", PATIENCE, || cache.put().is_ok().then_some(()));
        println!("{}: keys are taken again {:?} after there is room", cache.name, emptied.elapsed());
        until("the instance is ready", PATIENCE, is_well);
        assert!(cache.has_every_key());
        let record =
            layer.data_dir().join("clusters").join(instance()["cluster"].as_str().unwrap()).join("process.json");
        let process: Value = serde_json::from_slice(&std::fs::read(record).unwrap()).unwrap();
        kill_process(process["pid"].as_i64().unwrap().try_into().unwrap());
        until("its keys outlive it", PATIENCE, || cache.has_every_key().then_some(()));
        until("the instance is ready again", PATIENCE, is_well);
    }
    expect_whole(layer);
}

/// A cache with keys of a megabyte each, by number.
struct Cache {
    name: &'static str,
    uri: String,
    keys: usize,
}

impl Cache {
    /// Puts keys until one is refused, and gives the refusal.
    fn fill(&mut self) -> String {
        while self.keys < 1_000 {
            if let Err(refusal) = self.put() {
                return refusal;
            }
        }
        panic!("the disk does not get full");
    }

    fn put(&mut self) -> Result<(), String> {
        let key = self.keys.to_string();
        let answer = self.ask(&["-x", "SET", &key], &"x".repeat(1 << 20));
        if answer != "OK" {
            return Err(answer);
        }
        self.keys += 1;
        Ok(())
    }

    fn has_every_key(&self) -> bool {
        let script = (0..self.keys).map(|key| format!("STRLEN {key}\n")).collect::<String>();
        self.ask(&[], &script).lines().filter(|length| *length == (1 << 20).to_string()).count() == self.keys
    }

    /// What redis-cli shows, on either of its outputs.
    fn ask(&self, arguments: &[&str], input: &str) -> String {
        let mut client = Command::new("redis-cli");
        client.args(["-u", &self.uri, "--no-auth-warning"]).args(arguments);
        let mut client = client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // One that was hung up on does not read.
        let _ = client.stdin.take().unwrap().write_all(input.as_bytes());
        let output = client.wait_with_output().unwrap();
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat().trim().to_owned()
    }
}

fn on_small_disk() -> Layer {
    Layer::start(Options { prepare: Some(mount_small_disk), ..Options::default() })
}

/// The refusal says what is full, that it is not the caller's fault, and what helps.
fn expect_refused(layer: &Layer, answer: &Answer) {
    assert_eq!(answer.status, 507, "{answer:?}");
    assert_eq!(answer.content_type, "application/problem+json");
    assert_eq!(answer.body["code"], "storage_full");
    let (detail, remedy) = (answer.body["detail"].as_str().unwrap(), answer.body["remedy"].as_str().unwrap());
    assert!(detail.contains(layer.data_dir().to_str().unwrap()), "{detail}");
    assert!(remedy.contains("free some space"), "{remedy}");
}

/// Nothing was damaged: the journal verifies, and the layer comes up again with everything in it.
fn expect_whole(mut layer: Layer) {
    let verify = |layer: &Layer| layer.cli(&["journal", "verify"]).succeed();
    verify(&layer);
    let instances = |layer: &Layer| layer.api().all("/api/v1/instances");
    let before = instances(&layer);
    layer.stop();
    verify(&layer);
    layer.restart();
    // Dedicated servers may still be starting when the layer is ready, and their instances say so.
    until("everything is as it was", PATIENCE, || (instances(&layer) == before).then_some(()));
}
