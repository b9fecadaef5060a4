//! Starting and stopping, in order and not: what runs is found again, and what is stopped is stopped.

use std::time::{Duration, Instant};

use crate::harness::{Layer, Options, is_alive, kill_process, until};

const SHARED: &str = "postgresql-shared";
/// Processes that were told to end are gone within this time.
const END_PATIENCE: Duration = Duration::from_secs(20);
/// How long a layer that exists already may take to be ready, on a machine that compiles and tests beside it. What it
/// takes on a quiet one, the benchmarks say.
const RESTART_PATIENCE: Duration = Duration::from_secs(15);

#[test]
fn an_engine_outlives_its_control_plane_and_is_found_again() {
    let mut layer = Layer::start(Options::default());
    layer.create("shop");
    let uri = layer.bind("shop", "web")["credentials"]["uri"].as_str().unwrap().to_owned();
    let postmaster = layer.postmaster(SHARED);
    let before = layer.events().len();

    layer.kill();
    assert_eq!(layer.psql(&uri, "SELECT 41 + 1"), "42", "the engine serves without a control plane");
    layer.restart();
    assert_eq!(layer.postmaster(SHARED), postmaster);
    layer.create("shop-2");
    assert!(
        !layer.events()[before..].iter().any(|event| event["subject"]["kind"] == "cluster"),
        "that the cluster went on as it was is no event"
    );
    assert_eq!(layer.psql(&uri, "SELECT 41 + 1"), "42");
}

#[test]
fn a_restart_heals_what_was_killed_with_the_control_plane() {
    let mut layer = Layer::start(Options::default());
    layer.create("shop");
    let uri = layer.bind("shop", "web")["credentials"]["uri"].as_str().unwrap().to_owned();
    layer.psql(&uri, "CREATE TABLE kept AS SELECT 42 AS answer");

    layer.kill();
    let postmaster = layer.postmaster(SHARED);
    kill_process(postmaster);
    let begun = Instant::now();
    layer.restart();
    println!("ready {:?} after a restart with a killed engine", begun.elapsed());
    assert!(begun.elapsed() < RESTART_PATIENCE);
    assert_ne!(layer.postmaster(SHARED), postmaster);
    assert_eq!(layer.psql(&uri, "SELECT answer FROM kept"), "42");
    let shop = layer.api().get("/api/v1/instances/shop").expect(200);
    assert_eq!(shop["state"], "ready");
}

#[test]
fn down_stops_what_a_killed_control_plane_left_and_up_brings_it_back() {
    let mut layer = Layer::start(Options::default());
    layer.create("shop");
    layer.create_with("own", "dedicated");
    let uri = layer.bind("shop", "web")["credentials"]["uri"].as_str().unwrap().to_owned();
    let own_uri = layer.bind("own", "web")["credentials"]["uri"].as_str().unwrap().to_owned();
    for uri in [&uri, &own_uri] {
        layer.psql(uri, "CREATE TABLE kept AS SELECT 42 AS answer");
    }
    let own = layer.api().get("/api/v1/instances/own").expect(200)["cluster"].as_str().unwrap().to_owned();
    let postmasters = [layer.postmaster(SHARED), layer.postmaster(&own)];

    layer.kill();
    let down = layer.cli(&["down"]);
    assert_eq!((down.code, down.stderr.as_str()), (0, ""), "{down:?}");
    assert!(down.stdout.contains("is stopped; its data stays"), "{down:?}");
    assert!(!postmasters.iter().any(|pid| is_alive(*pid)), "down has stopped them when it returns");
    let again = layer.cli(&["down"]);
    assert_eq!(again.code, 0, "{again:?}");

    let begun = Instant::now();
    layer.restart();
    println!("ready {:?} after down and up, with two engines", begun.elapsed());
    assert!(begun.elapsed() < RESTART_PATIENCE);
    for uri in [&uri, &own_uri] {
        // Readiness is that of what everybody shares; a dedicated engine may come a moment later.
        until("the data is served", END_PATIENCE, || layer.try_psql(uri, "SELECT answer FROM kept").ok());
        assert_eq!(layer.psql(uri, "SELECT answer FROM kept"), "42");
    }
}

#[test]
fn a_second_layer_on_the_same_data_is_refused_and_detached_up_finds_the_first() {
    let mut layer = Layer::start(Options::default());
    layer.create("shop");
    let pid = layer.pid().to_string();

    let second = layer.cli(&["up"]);
    assert_eq!(second.code, 1, "{second:?}");
    for part in [pid.as_str(), layer.data_dir().to_str().unwrap(), "mainstay down", "--data-dir"] {
        assert!(second.stderr.contains(part), "{part} is not in {}", second.stderr);
    }
    let found = layer.cli(&["up", "--detach"]);
    assert_eq!(found.code, 0, "{found:?}");
    assert!(found.stdout.contains(&format!("runs already (process {pid})")), "{found:?}");

    let postmaster = layer.postmaster(SHARED);
    let down = layer.cli(&["down"]);
    assert_eq!(down.code, 0, "{down:?}");
    assert!(!is_alive(postmaster));
    layer.ended();

    let started = layer.cli(&["up", "--detach"]);
    assert_eq!(started.code, 0, "{started:?}");
    let again = layer.cli(&["up", "--detach"]);
    assert_eq!(again.code, 0, "{again:?}");
    assert!(again.stdout.contains("runs already"), "{again:?}");
    assert_eq!(layer.cli(&["get", "shop"]).code, 0);
    let down = layer.cli(&["down"]);
    assert_eq!((down.code, down.stderr.as_str()), (0, ""), "{down:?}");
}

#[test]
fn an_engine_that_is_asked_to_stop_by_ctrl_c_of_up_is_stopped() {
    let mut layer = Layer::start(Options::default());
    layer.create("shop");
    let postmaster = layer.postmaster(SHARED);
    layer.interrupt();
    until("the control plane ends", END_PATIENCE, || layer.has_ended().then_some(()));
    assert!(!is_alive(postmaster));
}
