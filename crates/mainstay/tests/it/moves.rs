//! Instances move from one engine to another under load: no write that was acknowledged is lost, what clients know goes on
//! working, and what cannot be done changes nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use redis::{Client, Connection, RedisResult};
use serde_json::{Value, json};

use crate::harness::{Chance, Layer, Options, soak, until, uri_of, with_seeds};

/// Where Valkey is, on machines whose package manager does not have it.
const VALKEY: &str = "MAINSTAY_TEST_VALKEY_BIN_DIR";
/// Longer than any move takes, on a machine that compiles beside it.
const PATIENCE: Duration = Duration::from_secs(120);
/// The longest that a client may wait for one answer before it takes the server for gone.
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);
/// The longest that writes may wait for a new cluster to take over, as it is told: far more than it takes, on any machine.
const LONGEST_PAUSE_MILLISECONDS: u64 = 4_000;
/// Bytes that are there before, so that there is something to copy.
const PRELOADED: usize = 16 << 20;

#[test]
fn redis_becomes_valkey_under_load_and_loses_nothing() {
    let Some(layer) = with_both() else { return };
    let bound = cache(&layer, "durable");
    let writer = Writer::start(uri_of(&bound));
    writer.wait_for(500);
    let moved = layer.cli(&["move", "cache", "--engine", "valkey"]);
    assert_eq!(moved.code, 0, "{moved:?}");
    assert!(moved.stderr.contains("Moved cache; writes waited for "), "{moved:?}");
    writer.wait_for(writer.acknowledged() + 500);
    let (written, longest) = writer.finish();

    let event = &layer.events_of("v1.instance.moved")[0]["payload"];
    let pause = event["write_pause_milliseconds"].as_u64().unwrap();
    println!("{written} writes, none lost; writes waited for {pause} ms, the longest write took {longest:?}");
    assert!(pause < LONGEST_PAUSE_MILLISECONDS, "{event}");
    assert_eq!((&event["from_engine"], &event["engine"]), (&json!("redis"), &json!("valkey")));
    expect_written(&uri_of(&bound), written);
    expect_at(&layer, "valkey", &bound);

    // The other way there is none, and nothing changes.
    let refused = layer.cli(&["move", "cache", "--engine", "redis"]).fail(1);
    assert!(refused.contains("engine redis can not take over from valkey"), "{refused}");
    // Onto a new process of its own, and what could be done before can be done still.
    let api = layer.api();
    let operation = api.post("/api/v1/instances/cache/move?wait=60s", &json!({})).expect(200);
    assert_eq!(operation["state"], "succeeded", "{operation}");
    expect_written(&uri_of(&bound), written);
    let binding = bound["id"].as_str().unwrap();
    api.delete(&format!("/api/v1/bindings/{binding}?wait=60s")).expect(200);
    assert!(connect(&uri_of(&bound)).is_err(), "a binding that has ended is refused where it moved with its instance");
    let clusters = || api.all("/api/v1/clusters").len();
    until("the clusters that it lived on are gone", PATIENCE, || (clusters() == 1).then_some(()));
}

#[test]
fn what_is_revoked_while_it_moves_is_refused_where_it_moved() {
    let Some(layer) = with_both() else { return };
    let (kept, ended) = (cache(&layer, "durable"), layer.bind("cache", "ended"));
    let api = layer.api();
    let operation = api.post("/api/v1/instances/cache/move", &json!({ "engine": "valkey" })).expect(202);
    let refused = api.post("/api/v1/instances/cache/bindings", &json!({ "consumer": "late" })).expect(409);
    assert_eq!(refused["code"], "instance_moving", "{refused}");
    let revoked = api.delete(&format!("/api/v1/bindings/{}?wait=60s", ended["id"].as_str().unwrap())).expect(200);
    assert_eq!(revoked["state"], "succeeded", "{revoked}");
    assert!(connect(&uri_of(&ended)).is_err());
    finished(&layer, &operation);
    assert!(connect(&uri_of(&ended)).is_err(), "nobody has it on the new cluster");
    expect_at(&layer, "valkey", &kept);
}

#[test]
fn what_cannot_move_is_refused_with_the_reason() {
    let layer = Layer::shared();
    layer.create("unmoved");
    let refused = layer.cli(&["move", "unmoved"]).fail(1);
    assert!(refused.contains("it shares its cluster"), "{refused}");
    let refused = layer.cli(&["move", "unmoved", "--engine", "valkey"]).fail(1);
    assert!(refused.contains("engine valkey does not fulfil postgresql/v1"), "{refused}");
    layer.create_with("unmoved-alone", "dedicated");
    let refused = layer.cli(&["move", "unmoved-alone"]).fail(1);
    assert!(refused.contains("engine postgresql can not take over from postgresql"), "{refused}");
    let state = &layer.api().get("/api/v1/instances/unmoved-alone").expect(200)["state"];
    assert_eq!(state, "ready");
}

#[test]
fn a_move_whose_control_plane_is_killed_comes_to_its_end() {
    with_seeds(3, round);
}

#[test]
fn soak_killed_moves() {
    soak(round);
}

fn round(seed: u64) {
    let Some(mut layer) = with_both() else { return };
    let mut chance = Chance::new(seed);
    let persistence = ["cache", "durable", "synced"][chance.pick(0..3) as usize];
    let bound = cache(&layer, persistence);
    let writer = Writer::start(uri_of(&bound));
    writer.wait_for(200);
    let old = layer.api().get("/api/v1/instances/cache").expect(200)["cluster"].as_str().unwrap().to_owned();
    let closed = layer.data_dir().join("clusters").join(old).join("closed");
    let operation = layer.api().post("/api/v1/instances/cache/move", &json!({ "engine": "valkey" })).expect(202);
    // The whole takes about a second, and what matters most some milliseconds of it: half of the kills come then.
    let handed_over = chance.pick(0..2) == 0;
    let moment = Instant::now() + Duration::from_millis(chance.pick(0..1_500));
    watch(|| if handed_over { closed.exists() } else { Instant::now() >= moment });
    let later = Instant::now() + Duration::from_micros(chance.pick(0..10_000));
    watch(|| Instant::now() >= later);
    let when = if closed.exists() { "while it was handed over" } else { "before or after" };
    layer.kill();
    layer.restart_in_trouble();
    finished(&layer, &operation);
    writer.wait_for(writer.acknowledged() + 200);
    let (written, longest) = writer.finish();
    println!("{persistence}, killed {when}: {written} writes, none lost; the longest took {longest:?}");
    expect_written(&uri_of(&bound), written);
    expect_at(&layer, "valkey", &bound);
    let verified = layer.cli(&["journal", "verify"]);
    assert_eq!(verified.code, 0, "{verified:?}");
}

/// Waits without a pause, which would be longer than what is waited for.
fn watch(mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "the moment should come within {PATIENCE:?}");
        std::thread::yield_now();
    }
}

/// A layer with both engines, or none where one is not installed.
fn with_both() -> Option<Layer> {
    let mut options = Options::default();
    if let Ok(directory) = std::env::var(VALKEY) {
        options.environment.push(("Engines__Valkey__BinDir", directory));
    }
    let layer = Layer::start(options);
    let offerings = layer.api().all("/api/v1/offerings");
    let missing: Vec<_> = offerings
        .iter()
        .filter(|offering| offering["contract"] == "redis/v1" && offering["available"] == false)
        .map(|offering| offering["reason"].to_string())
        .collect();
    if missing.is_empty() {
        return Some(layer);
    }
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{missing:?}");
    eprintln!("SKIPPED: {missing:?}");
    None
}

/// Makes an instance on Redis with something in it; gives a binding.
fn cache(layer: &Layer, persistence: &str) -> Value {
    let set = format!("persistence={persistence}");
    let create = ["create", "redis/v1", "cache", "--engine", "redis", "--plan", "dedicated", "--set", &set];
    let created = layer.cli(&[&create[..], &["--set", "eviction=noeviction"]].concat());
    assert_eq!(created.code, 0, "{created:?}");
    let bound = layer.bind("cache", "writer");
    let mut connection = connect(&uri_of(&bound)).unwrap();
    let value = "x".repeat(1 << 20);
    for number in 0..PRELOADED >> 20 {
        let set = redis::cmd("SET").arg(format!("preloaded:{number}")).arg(&value).clone();
        set.query::<()>(&mut connection).unwrap();
    }
    bound
}

fn finished(layer: &Layer, operation: &Value) {
    let path = format!("/api/v1/operations/{}", operation["id"].as_str().unwrap());
    let ended = until("the move has ended", PATIENCE, || {
        let operation = layer.api().get(&path).expect(200);
        (operation["state"] != "in progress").then_some(operation)
    });
    assert_eq!(ended["state"], "succeeded", "{ended}");
}

/// It is ready on an engine, and its credentials are what they were.
fn expect_at(layer: &Layer, engine: &str, bound: &Value) {
    let instance = until("it is ready", PATIENCE, || {
        let instance = layer.api().get("/api/v1/instances/cache").expect(200);
        (instance["state"] == "ready").then_some(instance)
    });
    assert_eq!((instance["engine"].as_str(), &instance["moving_to"]), (Some(engine), &Value::Null), "{instance}");
    assert_eq!(instance["endpoint"]["port"].to_string(), bound["credentials"]["port"].as_str().unwrap());
    let info: String = redis::cmd("INFO").arg("server").query(&mut connect(&uri_of(bound)).unwrap()).unwrap();
    assert_eq!(info.contains("valkey_version"), engine == "valkey", "{info}");
}

fn connect(uri: &str) -> RedisResult<Connection> {
    let connection = Client::open(uri)?.get_connection_with_timeout(ANSWER_PATIENCE)?;
    connection.set_read_timeout(Some(ANSWER_PATIENCE))?;
    Ok(connection)
}

fn expect_written(uri: &str, count: u64) {
    let mut connection = connect(uri).unwrap();
    let keys: Vec<String> = (0..count).map(|number| format!("written:{number}")).collect();
    for (chunk, keys) in keys.chunks(1_000).enumerate() {
        let found: Vec<Option<u64>> = redis::cmd("MGET").arg(keys).query(&mut connection).unwrap();
        for (index, value) in found.into_iter().enumerate() {
            let number = (1_000 * chunk + index) as u64;
            assert_eq!(value, Some(number), "write {number} of {count} was acknowledged and is lost");
        }
    }
    let preloaded: usize = redis::cmd("STRLEN").arg("preloaded:0").query(&mut connection).unwrap();
    assert_eq!(preloaded, 1 << 20);
}

/// A stock client that writes without end, each key until it is acknowledged, and connects again when it has to.
struct Writer {
    acknowledged: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Duration>,
}

impl Writer {
    fn start(uri: String) -> Self {
        let (acknowledged, stop): (Arc<AtomicU64>, Arc<AtomicBool>) = Default::default();
        let (count, stopped) = (acknowledged.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            let (mut connection, mut begun, mut longest) = (None, Instant::now(), Duration::ZERO);
            while !stopped.load(Ordering::SeqCst) {
                let number = count.load(Ordering::SeqCst);
                let Some(open) = &mut connection else {
                    connection = connect(&uri).ok();
                    std::thread::yield_now();
                    continue;
                };
                match redis::cmd("SET").arg(format!("written:{number}")).arg(number).query::<()>(open) {
                    Ok(()) => {
                        longest = longest.max(begun.elapsed());
                        begun = Instant::now();
                        count.store(number + 1, Ordering::SeqCst);
                    }
                    Err(_) => connection = None,
                }
            }
            longest
        });
        Self { acknowledged, stop, thread }
    }

    fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::SeqCst)
    }

    fn wait_for(&self, count: u64) {
        until("enough is written", PATIENCE, || (self.acknowledged() >= count).then_some(()));
    }

    /// How many writes were acknowledged, and how long the longest took, with all its attempts.
    fn finish(self) -> (u64, Duration) {
        self.stop.store(true, Ordering::SeqCst);
        let longest = self.thread.join().unwrap();
        (self.acknowledged.load(Ordering::SeqCst), longest)
    }
}
