//! `kill -9` of the control plane in the middle of many calls: what was acknowledged is there, nothing is half-done,
//! and the engine's clients notice nothing.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mainstay_journal::Journal;
use mainstay_storage::{Location, Service, Store};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use tokio::runtime::Runtime;
use ureq::http::Method;

use crate::harness::{Answer, Api, Chance, Layer, Options, runtime, soak, until, uri_of, with_seeds};

const SHARED: &str = "postgresql-shared";
const CALLS: usize = 200;
/// Instances that are there before, for the bindings among the calls.
const INSTANCES: usize = 4;
/// The kill comes up to this long after an answer, in microseconds: answers alone would be too regular a moment.
const JITTER: u64 = 30_000;
/// All calls together take some seconds, on a machine that compiles beside it some more.
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn a_killed_control_plane_has_done_each_call_or_not_at_all() {
    with_seeds(2, round);
}

#[test]
fn soak_killed_control_plane() {
    soak(round);
}

fn round(seed: u64) {
    let mut chance = Chance::new(seed);
    let mut layer = Layer::start(Options::default());
    let runtime = runtime();
    let mut sessions = Sessions::open(&layer, &runtime);
    let postmaster = layer.postmaster(SHARED);

    let calls: Vec<Call> = (0..CALLS).map(|number| Call::draw(number, &mut chance)).collect();
    let answers = interrupted(&mut layer, &calls, &mut chance);
    sessions.expect_undisturbed(&runtime, "while there is no control plane");
    layer.restart();
    assert_eq!(layer.postmaster(SHARED), postmaster, "the server was adopted");
    sessions.expect_undisturbed(&runtime, "after the control plane has come back");

    expect_settled(&layer);
    expect_alike(&layer);
    for (call, answer) in calls.iter().zip(&answers) {
        if let Some(answer) = answer {
            call.expect_done(&layer, answer, &runtime);
        }
    }
    // A caller who got no answer sends the call again, and it is done once.
    let (api, path) = (layer.api(), |call: &Call| call.path());
    let unanswered = || calls.iter().zip(&answers).filter(|(_, answer)| answer.is_none()).map(|(call, _)| call);
    for call in unanswered() {
        let answer = call.send(&api).unwrap_or_else(|error| panic!("{}: {error}", path(call)));
        call.expect_done(&layer, &answer, &runtime);
    }
    expect_each_once(&layer, &calls);
    expect_alike(&layer);
    sessions.expect_undisturbed(&runtime, "at the end");

    let verified = layer.cli(&["journal", "verify"]);
    assert_eq!(verified.code, 0, "{verified:?}");
    // Once from events alone, and once from the snapshot that an orderly end leaves and what came after it.
    layer.kill();
    expect_view_is_replay(&layer, &runtime);
    layer.restart();
    layer.stop();
    layer.restart();
    layer.create("after-the-snapshot");
    layer.kill();
    expect_view_is_replay(&layer, &runtime);
}

/// One of the calls in the middle of which the control plane is killed.
#[derive(Debug)]
enum Call {
    Create { instance: String },
    Bind { instance: String, consumer: String },
}

impl Call {
    fn draw(number: usize, chance: &mut Chance) -> Self {
        match chance.pick(0..2) {
            0 => Self::Create { instance: format!("made-{number}") },
            _ => Self::Bind {
                instance: name_of(chance.pick(0..INSTANCES as u64) as usize),
                consumer: format!("consumer-{number}"),
            },
        }
    }

    fn path(&self) -> String {
        match self {
            Self::Create { .. } => "/api/v1/instances?wait=120s".to_owned(),
            Self::Bind { instance, .. } => format!("/api/v1/instances/{instance}/bindings?wait=120s"),
        }
    }

    fn send(&self, api: &Api) -> Result<Answer, ureq::Error> {
        let (key, body) = match self {
            Self::Create { instance } => (instance, json!({ "name": instance, "contract": "postgresql/v1" })),
            Self::Bind { consumer, .. } => (consumer, json!({ "consumer": consumer })),
        };
        api.call(Method::POST, &self.path(), &[("idempotency-key", key)], &body.to_string())
    }

    /// What was acknowledged is there and works.
    fn expect_done(&self, layer: &Layer, answer: &Answer, runtime: &Runtime) {
        match self {
            Self::Create { instance } => {
                assert_eq!((answer.status, &answer.body["state"]), (200, &"succeeded".into()), "{self:?}: {answer:?}");
                let found = layer.api().get(&format!("/api/v1/instances/{instance}")).expect(200);
                assert_eq!(found["state"], "ready", "{found}");
            }
            Self::Bind { instance, consumer } => {
                let bound = answer.clone().expect(201);
                assert_eq!((&bound["instance"], &bound["consumer"]), (&json!(instance), &json!(consumer)));
                let connected = runtime.block_on(PgConnection::connect(&uri_of(&bound)));
                connected.unwrap_or_else(|error| panic!("{self:?}: {error}"));
            }
        }
    }
}

/// Sends all calls at once and kills the control plane after some of the answers; gives the answers that came.
fn interrupted(layer: &mut Layer, calls: &[Call], chance: &mut Chance) -> Vec<Option<Answer>> {
    let kill_after = chance.pick(0..CALLS as u64) as usize;
    let jitter = Duration::from_micros(chance.pick(0..JITTER));
    let api = layer.api();
    let answered = AtomicUsize::new(0);
    let answers: Vec<Option<Answer>> = std::thread::scope(|scope| {
        let send = |call| {
            let (api, answered) = (api.clone(), &answered);
            scope.spawn(move || {
                let answer = Call::send(call, &api).ok();
                answered.fetch_add(1, Ordering::Relaxed);
                answer
            })
        };
        let threads: Vec<_> = calls.iter().map(send).collect();
        until("enough calls are answered", PATIENCE, || (answered.load(Ordering::Relaxed) >= kill_after).then_some(()));
        let moment = Instant::now() + jitter;
        until("the moment has come", PATIENCE, || (Instant::now() >= moment).then_some(()));
        layer.kill();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let refused = answers.iter().flatten().filter(|answer| answer.status >= 300).collect::<Vec<_>>();
    assert!(refused.is_empty(), "{refused:#?}");
    println!("killed after {} of {CALLS} answers", answers.iter().flatten().count());
    answers
}

/// Nothing stays in between: all work that was begun comes to its end.
fn expect_settled(layer: &Layer) {
    let api = layer.api();
    until("all work is done", PATIENCE, || {
        let operations = api.all("/api/v1/operations");
        operations.iter().all(|operation| operation["state"] != "in progress").then_some(())
    });
    for instance in api.all("/api/v1/instances") {
        assert_eq!(instance["state"], "ready", "{instance}");
        for binding in bindings(&api, &instance) {
            assert_eq!(binding["state"], "ready", "{binding}");
        }
    }
}

/// What the layer knows is in the server, and nothing else is.
fn expect_alike(layer: &Layer) {
    let api = layer.api();
    let (mut databases, mut roles) = (BTreeSet::new(), BTreeSet::new());
    for instance in api.all("/api/v1/instances") {
        let suffix = instance["id"].as_str().unwrap().strip_prefix("i-").unwrap();
        databases.insert(format!("db_{suffix}"));
        roles.insert(format!("o_{suffix}"));
        for binding in bindings(&api, &instance) {
            let suffix = binding["id"].as_str().unwrap().strip_prefix("b-").unwrap();
            roles.insert(format!("b_{suffix}_{}", binding["generation"]));
        }
    }
    let superuser = layer.superuser(SHARED, layer.postgresql_port());
    let there = |query| -> BTreeSet<String> { layer.psql(&superuser, query).lines().map(str::to_owned).collect() };
    assert_eq!(there("SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres'"), databases);
    assert_eq!(there("SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_' AND rolname <> 'mainstay'"), roles);
}

fn expect_each_once(layer: &Layer, calls: &[Call]) {
    let api = layer.api();
    let mut wanted: Vec<String> = (0..INSTANCES).map(|number| format!("{}/before", name_of(number))).collect();
    wanted.extend(calls.iter().filter_map(|call| match call {
        Call::Bind { instance, consumer } => Some(format!("{instance}/{consumer}")),
        Call::Create { .. } => None,
    }));
    let bound = |instance: &Value| bindings(&api, instance);
    let instances = api.all("/api/v1/instances");
    let mut there: Vec<String> = instances
        .iter()
        .flat_map(bound)
        .map(|binding| format!("{}/{}", binding["instance"].as_str().unwrap(), binding["consumer"].as_str().unwrap()))
        .collect();
    wanted.sort();
    there.sort();
    assert_eq!(there, wanted);
    let made = calls.iter().filter(|call| matches!(call, Call::Create { .. })).count();
    assert_eq!(instances.len(), INSTANCES + made);
}

/// The view that the next control plane begins with is the fold of all events, byte for byte.
fn expect_view_is_replay(layer: &Layer, runtime: &Runtime) {
    let location = Location::Directory(layer.data_dir().join("storage"));
    runtime.block_on(async {
        let store = Store::open(&location, Service::Journal, mainstay_journal::SCHEMA).await.unwrap();
        let replayed = mainstay_journal::replay(&store).await.unwrap();
        let journal = Journal::open(store).await.unwrap();
        let view = journal.view();
        assert!(view.sequence() > 0);
        assert_eq!(minicbor::to_vec(&*view).unwrap(), minicbor::to_vec(&replayed).unwrap());
        assert_eq!(*view, replayed, "what is derived from it is the same too");
        journal.close().await;
    });
}

fn bindings(api: &Api, instance: &Value) -> Vec<Value> {
    api.all(&format!("/api/v1/instances/{}/bindings", instance["name"].as_str().unwrap()))
}

fn name_of(number: usize) -> String {
    format!("before-{number}")
}

/// Clients that are connected all the while.
struct Sessions(Vec<(PgConnection, i32)>);

impl Sessions {
    /// Makes the instances that are there before, and a session in each.
    fn open(layer: &Layer, runtime: &Runtime) -> Self {
        let open = |number| {
            layer.create(&name_of(number));
            let uri = uri_of(&layer.bind(&name_of(number), "before"));
            runtime.block_on(async {
                let mut session = PgConnection::connect(&uri).await.unwrap();
                let backend = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut session).await.unwrap();
                sqlx::query("CREATE TABLE kept (n int)").execute(&mut session).await.unwrap();
                (session, backend)
            })
        };
        Self((0..INSTANCES).map(open).collect())
    }

    fn expect_undisturbed(&mut self, runtime: &Runtime, when: &str) {
        for (session, backend) in &mut self.0 {
            let query = "INSERT INTO kept VALUES (1) RETURNING pg_backend_pid()";
            let now: Result<i32, _> = runtime.block_on(sqlx::query_scalar(query).fetch_one(session));
            assert_eq!(now.unwrap_or_else(|error| panic!("a session was disturbed {when}: {error}")), *backend);
        }
    }
}
