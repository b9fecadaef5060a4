//! A full disk: what needs room is refused with the reason and the remedy, nothing is damaged, and when there is room
//! again everything goes on by itself.

use std::time::{Duration, Instant};

use serde_json::json;
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
    let before = layer.api().all("/api/v1/instances");
    layer.stop();
    verify(&layer);
    layer.restart();
    assert_eq!(layer.api().all("/api/v1/instances"), before);
}
