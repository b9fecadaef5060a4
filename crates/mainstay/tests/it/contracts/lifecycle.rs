//! What holds of every contract: credentials overlap and end, and data outlives processes but not its instance.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Asked;
use crate::harness::{Layer, kill_process, until};

/// How long what was begun may take on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long an old credential works beside its new one: enough for the checks in between.
const OVERLAP: &str = "2s";

/// A session of a stock client, as far as every contract goes.
pub trait Session: Sized {
    /// By what a binding gives.
    fn open(given: &Value) -> Result<Self, String>;

    /// Has a number kept. It returns when the service has acknowledged it.
    fn keep(&mut self, number: u64) -> Result<(), String>;

    /// The numbers that are kept, in order.
    fn kept(&mut self) -> Result<Vec<u64>, String>;

    /// Whether this is still the session that was opened, and of use.
    fn is_open(&mut self) -> bool;
}

/// What an instance promises besides what every one does.
#[derive(Clone, Copy)]
pub struct Promise {
    /// A killed server serves again within this time.
    pub heals_within: Duration,
    /// Whether what was acknowledged outlives its server.
    pub durable: bool,
}

/// Holds an instance to it, from its creation to its end, with a session of another one beside it.
pub fn holds<S: Session>(layer: &mut Layer, asked: Asked, neighbour: Asked, promise: Promise) {
    println!("{} on {}, plan {}", asked.contract, asked.engine, asked.plan);
    let api = layer.api();
    asked.create(&api);
    neighbour.create(&api);
    let mut beside = opened::<S>(&neighbour.bind(&api, "beside"));

    let bound = credentials_overlap_and_end::<S>(layer, asked);
    an_unbound_consumer_is_hung_up_on::<S>(layer, asked);
    assert!(beside.is_open(), "the neighbour's session goes on");
    sessions_outlive_the_control_plane::<S>(layer, &bound);
    assert!(beside.is_open(), "the neighbour's session goes on");
    a_killed_server_serves_again::<S>(layer, asked, &bound, promise);
    what_was_deleted_is_gone::<S>(layer, asked, &bound);
    neighbour.delete(layer);
}

/// Gives what the binding was rotated to; the numbers up to 2 are kept.
fn credentials_overlap_and_end<S: Session>(layer: &Layer, asked: Asked) -> Value {
    let old = asked.bind(&layer.api(), "rotated");
    let mut session = opened::<S>(&old);
    session.keep(1).unwrap();
    let rotate = format!("/api/v1/bindings/{}/rotate?wait=60s", old["id"].as_str().unwrap());
    let new = layer.api().post(&rotate, &json!({ "overlap": OVERLAP })).expect(200);
    assert_ne!(old["credentials"]["password"], new["credentials"]["password"]);
    assert_eq!(opened::<S>(&new).kept().unwrap(), [1], "the new credential shows the same data");
    opened::<S>(&old);
    assert!(session.is_open(), "the old one and its session work on for a while");

    until("the old credential is refused", PATIENCE, || S::open(&old["credentials"]).err());
    until("its session has ended", PATIENCE, || (!session.is_open()).then_some(()));
    let mut session = opened::<S>(&new);
    session.keep(2).unwrap();
    assert_eq!(session.kept().unwrap(), [1, 2]);
    new
}

fn an_unbound_consumer_is_hung_up_on<S: Session>(layer: &Layer, asked: Asked) {
    let bound = asked.bind(&layer.api(), "unbound");
    let mut session = opened::<S>(&bound);
    layer.cli(&["unbind", bound["id"].as_str().unwrap()]).succeed();
    until("its credential is refused", PATIENCE, || S::open(&bound["credentials"]).err());
    until("its session has ended", PATIENCE, || (!session.is_open()).then_some(()));
}

fn sessions_outlive_the_control_plane<S: Session>(layer: &mut Layer, bound: &Value) {
    let mut session = opened::<S>(bound);
    layer.kill();
    session.keep(3).unwrap();
    assert!(S::open(&bound["credentials"]).is_ok(), "consumers come in without a control plane");
    layer.restart();
    session.keep(4).unwrap();
    assert!(session.is_open(), "its successor found the server and left it as it was");
}

fn a_killed_server_serves_again<S: Session>(layer: &Layer, asked: Asked, bound: &Value, promise: Promise) {
    let mut session = opened::<S>(bound);
    session.keep(5).unwrap();
    kill_process(server(layer, asked));
    let killed = Instant::now();
    let kept = until("it serves again", PATIENCE, || S::open(&bound["credentials"]).ok()?.kept().ok());
    println!("serving again {:?} after it was killed", killed.elapsed());
    assert!(killed.elapsed() < promise.heals_within);
    assert!(!session.is_open(), "its session has ended with the server");
    let wanted: &[u64] = if promise.durable { &[1, 2, 3, 4, 5] } else { &[] };
    assert_eq!(kept, wanted, "what was acknowledged");
    until("the instance is ready", PATIENCE, || {
        let instance = layer.api().get(&format!("/api/v1/instances/{}", asked.name)).expect(200);
        (instance["state"] == "ready").then_some(())
    });
}

fn what_was_deleted_is_gone<S: Session>(layer: &Layer, asked: Asked, bound: &Value) {
    let mut session = opened::<S>(bound);
    session.keep(6).unwrap();
    asked.delete(layer);
    until("its session has ended", PATIENCE, || (!session.is_open()).then_some(()));
    assert!(S::open(&bound["credentials"]).is_err());
    asked.create(&layer.api());
    assert_eq!(opened::<S>(&asked.bind(&layer.api(), "again")).kept().unwrap(), [] as [u64; 0]);
    asked.delete(layer);
}

/// A session that stays. A server that takes a change in this very moment may send a client away once.
fn opened<S: Session>(bound: &Value) -> S {
    until("a consumer is let in", PATIENCE, || {
        let mut session = S::open(&bound["credentials"]).ok()?;
        session.is_open().then_some(session)
    })
}

/// The process of the server that an instance is on.
fn server(layer: &Layer, asked: Asked) -> i32 {
    let instance = layer.api().get(&format!("/api/v1/instances/{}", asked.name)).expect(200);
    let file = layer.data_dir().join("clusters").join(instance["cluster"].as_str().unwrap()).join("process.json");
    let process: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    process["pid"].as_i64().unwrap().try_into().unwrap()
}
