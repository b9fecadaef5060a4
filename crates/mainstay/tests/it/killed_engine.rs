//! `kill -9` of a PostgreSQL server, time and again: served again soon, nothing lost, and on record.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sqlx::{Connection, PgConnection};

use crate::harness::{Chance, Layer, Options, kill_process, runtime, soak, until, with_seeds};

const SHARED: &str = "postgresql-shared";
/// The promise is 5 s on a machine that does nothing else. Beside all other tests, brokers among them, it has twice that.
const SERVING_AGAIN: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(30);
/// Fewer than make a crash loop, in which starts are spaced out.
const KILLS: usize = 3;
const ROWS_BETWEEN_KILLS: u64 = 200;

#[test]
fn a_killed_server_serves_again_and_has_lost_nothing() {
    with_seeds(1, round);
}

#[test]
fn soak_killed_engine() {
    soak(round);
}

fn round(seed: u64) {
    let mut chance = Chance::new(seed);
    let layer = Layer::start(Options::default());
    layer.create("shop");
    let uri = layer.bind("shop", "web")["credentials"]["uri"].as_str().unwrap().to_owned();
    layer.psql(&uri, "CREATE TABLE numbers (n bigint PRIMARY KEY)");
    let writer = Writer::start(uri.clone());
    writer.wait_for_session(1);

    let mut outages = Vec::new();
    for kill in 1..=KILLS {
        let postmaster = layer.postmaster(SHARED);
        writer.wait_for_rows(chance.pick(1..ROWS_BETWEEN_KILLS) as usize);
        let session = writer.session();
        let readiness = Readiness::watch(&layer);
        kill_process(postmaster);
        let killed = Instant::now();
        // Sessions of the old server work on for a moment, and so a new one has to be let in.
        writer.wait_for_session(session + 1);
        let outage = killed.elapsed();
        println!("kill {kill}: serving again after {outage:?}");
        outages.push(outage);

        // The event is recorded when the server serves, a moment after the first client may have noticed.
        let events = until("the restart is on record", PATIENCE, || {
            let events = layer.events_of("v1.engine.restarted");
            (events.len() >= kill).then_some(events)
        });
        until("the layer is ready again", PATIENCE, || layer.is_ready().then_some(()));
        let told = readiness.finish();
        assert!(told.iter().any(|answer| answer.contains(SHARED)), "it should say that it is not ready: {told:?}");
        assert_eq!(events.len(), kill, "one event for each kill: {events:#?}");
        let event = &events[kill - 1];
        assert_eq!(event["subject"]["id"], SHARED);
        assert!(event["payload"]["cause"].as_str().unwrap().contains("signal 9"), "{event}");
        assert!(event["payload"]["downtime_milliseconds"].as_u64().unwrap() <= outage.as_millis() as u64 + 1_000);
        assert_ne!(layer.postmaster(SHARED), postmaster);
    }

    // The median, because a disk that others keep busy can hold up the checkpoint of one recovery for long.
    outages.sort();
    assert!(outages[KILLS / 2] < SERVING_AGAIN, "{outages:?}");

    let acknowledged = writer.finish();
    let there = layer.psql(&uri, "SELECT n FROM numbers");
    let there: std::collections::HashSet<i64> = there.lines().map(|line| line.parse().unwrap()).collect();
    let lost: Vec<_> = acknowledged.iter().filter(|number| !there.contains(number)).collect();
    assert!(lost.is_empty(), "of {} acknowledged rows these are lost: {lost:?}", acknowledged.len());
    println!("{} acknowledged rows, none lost", acknowledged.len());
    // Nothing but the restarts happened to the cluster, and no repair was called for.
    let is_repair = |event: &serde_json::Value| event["type"].as_str().unwrap().ends_with(".repaired");
    let repairs: Vec<_> = layer.events().into_iter().filter(is_repair).collect();
    assert!(repairs.is_empty(), "{repairs:#?}");
}

#[test]
fn an_owned_server_is_served_again_too_and_its_instance_says_how_it_is() {
    let layer = Layer::start(Options::default());
    layer.create_with("own", "dedicated");
    let own = layer.api().get("/api/v1/instances/own").expect(200);
    let cluster = own["cluster"].as_str().unwrap();
    let uri = layer.bind("own", "web")["credentials"]["uri"].as_str().unwrap().to_owned();
    layer.psql(&uri, "CREATE TABLE kept AS SELECT 42 AS answer");
    kill_process(layer.postmaster(cluster));
    let killed = Instant::now();
    until("it is served again", PATIENCE, || layer.try_psql(&uri, "SELECT answer FROM kept").ok());
    println!("serving again after {:?}", killed.elapsed());
    until("the instance is ready", PATIENCE, || {
        (layer.api().get("/api/v1/instances/own").expect(200)["state"] == "ready").then_some(())
    });
    assert!(layer.is_ready(), "one tenant's own server is not the layer's readiness");
}

/// Commits one row after the other, each on record once it is acknowledged, and connects anew when it is cut off.
struct Writer {
    record: Arc<Mutex<Record>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Record {
    acknowledged: Vec<i64>,
    /// How many sessions have committed something.
    sessions: usize,
}

impl Writer {
    fn start(uri: String) -> Self {
        let record = Arc::<Mutex<Record>>::default();
        let stop = Arc::new(AtomicBool::new(false));
        let (written, asked) = (record.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            let runtime = runtime();
            let mut number = 0;
            while !asked.load(Ordering::Relaxed) {
                let connect = || runtime.block_on(PgConnection::connect(&uri)).ok();
                let mut connection = until("the writer is let in", PATIENCE, connect);
                let mut is_first = true;
                while !asked.load(Ordering::Relaxed) {
                    // A number that was not acknowledged may be there or not; it is never used again.
                    number += 1;
                    let insert = sqlx::query("INSERT INTO numbers VALUES ($1)").bind(number);
                    if runtime.block_on(insert.execute(&mut connection)).is_err() {
                        break;
                    }
                    let mut record = written.lock().unwrap();
                    record.acknowledged.push(number);
                    record.sessions += usize::from(is_first);
                    is_first = false;
                }
            }
        });
        Self { record, stop, thread }
    }

    fn session(&self) -> usize {
        self.record.lock().unwrap().sessions
    }

    fn wait_for_session(&self, session: usize) {
        until("a new session commits something", PATIENCE, || (self.session() >= session).then_some(()));
    }

    /// Waits for so many rows more than there are.
    fn wait_for_rows(&self, more: usize) {
        let rows = || self.record.lock().unwrap().acknowledged.len();
        let wanted = rows() + more;
        until("rows are written", PATIENCE, || (rows() >= wanted).then_some(()));
    }

    fn finish(self) -> Vec<i64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        Arc::into_inner(self.record).unwrap().into_inner().unwrap().acknowledged
    }
}

/// Asks without a pause whether the layer is ready, and keeps every answer that it is not.
struct Readiness {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<String>>,
}

impl Readiness {
    fn watch(layer: &Layer) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (api, asked) = (layer.api(), stop.clone());
        let thread = std::thread::spawn(move || {
            let mut refusals = Vec::new();
            while !asked.load(Ordering::Relaxed) {
                let answer = api.get("/readyz");
                match answer.status {
                    200 => {}
                    _ if refusals.last() == Some(&answer.text) => {}
                    _ => refusals.push(answer.text),
                }
            }
            refusals
        });
        Self { stop, thread }
    }

    fn finish(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}
