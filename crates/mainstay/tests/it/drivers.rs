//! The main job on each of the other storage drivers, and what becomes of it when the state's database goes away.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mainstay_storage::scratch::ScratchPostgres;
use secrecy::ExposeSecret;
use serde_json::json;

use crate::harness::{Layer, Options, until, uri_of};

const PATIENCE: Duration = Duration::from_secs(60);
/// Whoever asks for readiness gives up soon; two seconds are the store's, the rest is for busy machines.
const READINESS: Duration = Duration::from_secs(4);
const DRIVER: &str = "Storage__Driver";
const DEFAULT: &str = "ConnectionStrings__Default";

/// The tour in short: an instance is made, bound, used, looked at; gives the URI.
fn tour(layer: &Layer, name: &str) -> String {
    layer.cli(&["create", "postgresql/v1", name]).succeed();
    let binding = layer.bind(name, "web");
    layer.psql(&uri_of(&binding), "CREATE TABLE kept AS SELECT 42 AS answer");
    let rotated = layer.cli(&["rotate", binding["id"].as_str().unwrap(), "--format", "json"]).json();
    assert_eq!(layer.psql(&uri_of(&rotated), "SELECT answer FROM kept"), "42");
    assert!(layer.cli(&["status"]).succeed().contains("journal"));
    assert!(layer.cli(&["events"]).succeed().contains("v1.binding.rotated"));
    let extra = layer.bind(name, "extra");
    layer.cli(&["unbind", extra["id"].as_str().unwrap()]).succeed();
    uri_of(&rotated)
}

#[test]
fn in_memory_everything_works_and_the_state_is_gone_with_the_process() {
    let mut layer = Layer::start(Options { environment: vec![(DRIVER, "inmemory".to_owned())], ..Options::default() });
    tour(&layer, "shop");
    assert!(!layer.data_dir().join("storage").exists(), "nothing of the state is on disk");
    let token = layer.api();
    layer.kill();
    layer.restart();
    token.get("/api/v1/instances").expect(401);
    assert!(layer.cli(&["list"]).stderr.contains("No instances"), "and a new admin token was left");
    // The server that was left running is found again once it is needed.
    tour(&layer, "shop");
}

#[test]
fn the_state_in_postgresql_outlives_the_control_plane() {
    let server = ScratchPostgres::start();
    let mut layer = Layer::start(on(&server));
    let uri = tour(&layer, "shop");
    assert!(!layer.data_dir().join("storage").exists(), "nothing of the state is on disk");
    layer.kill();
    layer.restart();
    assert_eq!(layer.psql(&uri, "SELECT answer FROM kept"), "42");
    tour(&layer, "another");
    layer.cli(&["delete", "shop", "--yes", "--force"]).succeed();
    let verified = layer.cli(&["journal", "verify", "-o", "json"]).json();
    assert_eq!(verified["events"], layer.events().len());
}

#[test]
fn the_state_in_postgresql_goes_away_and_comes_back() {
    let mut server = ScratchPostgres::start();
    let layer = Layer::start(on(&server));
    let uri = tour(&layer, "shop");
    let writer = layer.api();
    let (stop, acknowledged) = (AtomicBool::new(false), std::sync::Mutex::new(BTreeSet::new()));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let consumers = (0..).map(|number| format!("c{number}"));
            for consumer in consumers.take_while(|_| !stop.load(Ordering::Relaxed)) {
                let body = json!({ "consumer": consumer }).to_string();
                let post = ureq::http::Method::POST;
                let answer = writer.call(post, "/api/v1/instances/shop/bindings?wait=5s", &[], &body).unwrap();
                assert!(matches!(answer.status, 201 | 202 | 409 | 503), "{}", answer.text);
                if answer.status == 201 {
                    acknowledged.lock().unwrap().insert(consumer);
                }
            }
        });
        let some_more = |what: &str| {
            let before = acknowledged.lock().unwrap().len();
            until(what, PATIENCE, || (acknowledged.lock().unwrap().len() >= before + 3).then_some(()));
        };
        some_more("bindings are made");
        server.kill();
        let refused = layer.api().post("/api/v1/instances", &json!({ "name": "no", "contract": "postgresql/v1" }));
        assert_eq!(refused.content_type, "application/problem+json");
        assert_eq!(refused.expect(503)["code"], "storage_unavailable");
        let asked = Instant::now();
        let ready = layer.api().get("/readyz").expect(503);
        assert!(asked.elapsed() < READINESS, "{:?}", asked.elapsed());
        let state_of = |name: &str| {
            let all = ready["dependencies"].as_array().unwrap();
            all.iter().find(|dependency| dependency["name"] == name).unwrap().clone()
        };
        for store in ["journal", "custody"] {
            let told = state_of(store);
            assert_eq!(told["ready"], false, "{told}");
            let reason = told["detail"].as_str().unwrap();
            assert!(reason.contains("not available") || reason.contains("did not answer within 2 s"), "{told}");
        }
        assert!(layer.is_live());
        let told = layer.cli(&["create", "postgresql/v1", "no"]).fail(1);
        assert!(told.contains("the journal") && told.contains("again"), "{told}");
        assert_eq!(layer.psql(&uri, "SELECT answer FROM kept"), "42", "the data plane goes on");
        assert!(layer.cli(&["list"]).succeed().contains("shop"), "what is known can be read");

        server.restart();
        until("the layer is ready again", PATIENCE, || layer.is_ready().then_some(()));
        some_more("bindings are made again");
        stop.store(true, Ordering::Relaxed);
    });
    let there = layer.api().all("/api/v1/instances/shop/bindings");
    let there: BTreeSet<_> = there.iter().map(|binding| binding["consumer"].as_str().unwrap().to_owned()).collect();
    let acknowledged = acknowledged.into_inner().unwrap();
    let lost: Vec<_> = acknowledged.difference(&there).collect();
    assert!(lost.is_empty(), "of {} acknowledged bindings these are lost: {lost:?}", acknowledged.len());
    println!("{} acknowledged bindings, none lost", acknowledged.len());
    layer.cli(&["journal", "verify"]).succeed();
}

#[test]
fn each_service_may_have_a_database_of_its_own() {
    let server = ScratchPostgres::start();
    let own = |key| (key, server.new_database().expose_secret().to_owned());
    let environment = vec![
        (DRIVER, "postgres".to_owned()),
        (DEFAULT, "postgresql://nobody@127.0.0.1:1/nowhere".to_owned()),
        own("ConnectionStrings__Journal"),
        own("ConnectionStrings__Custody"),
        own("ConnectionStrings__Objects"),
    ];
    let layer = Layer::start(Options { environment, ..Options::default() });
    tour(&layer, "shop");
    for (database, schema) in [("scratch_0", "journal"), ("scratch_1", "custody"), ("scratch_2", "objects")] {
        let found = server.psql(database, "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'mainstay_%'");
        assert!(found.contains(schema) && found.lines().count() == 1, "{database}: {found}");
    }
}

#[test]
fn a_second_control_plane_on_the_same_state() {
    let server = ScratchPostgres::start();
    let database = server.new_database().expose_secret().to_owned();
    let state = || vec![(DRIVER, "postgres".to_owned()), (DEFAULT, database.clone())];
    let mut first = Layer::start(Options { environment: state(), ..Options::default() });
    let uri = tour(&first, "shop");

    let mut environment = state();
    environment.push(("Custody__KeyFile", first.data_dir().join("custody/master.key").to_str().unwrap().to_owned()));
    let mut second = Layer::new(Options { environment, ..Options::default() });
    let refused = second.cli(&["up"]).fail(1);
    assert!(refused.contains("in use by mainstay ") && refused.contains("pg_terminate_backend"), "{refused}");
    assert!(refused.contains(&format!(" pid {};", first.pid())), "{refused}");
    assert_eq!(first.psql(&uri, "SELECT answer FROM kept"), "42");
    tour(&first, "another");
    first.cli(&["journal", "verify"]).succeed();

    // Where the first one is gone, its state is free at once, for whoever has its master key.
    first.kill();
    let stranger = Layer::new(Options { environment: state(), ..Options::default() });
    let refused = stranger.cli(&["up"]).fail(1);
    assert!(refused.contains("master key") && refused.contains("is not the one"), "{refused}");
    second.restart_in_trouble();
}

fn on(server: &ScratchPostgres) -> Options {
    let uri = server.new_database().expose_secret().to_owned();
    Options { environment: vec![(DRIVER, "postgres".to_owned()), (DEFAULT, uri)], ..Options::default() }
}
