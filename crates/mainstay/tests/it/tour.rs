//! The tour of the README, typed as a newcomer types it, and what the command line promises along the way.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Layer, Options, until, uri_of};

const PATIENCE: Duration = Duration::from_secs(30);
const SHARED: &str = "postgresql-shared";

#[test]
fn the_five_minutes() {
    let layer = Layer::start(Options::default());
    let empty = layer.cli(&["list"]);
    assert_eq!((empty.code, empty.stdout.as_str(), empty.stderr.as_str()), (0, "", "No instances.\n"));

    let created = layer.cli(&["create", "postgresql/v1", "shop"]);
    assert_eq!(created.stderr, "", "no bar and no message where no terminal is");
    assert_row(&created.succeed(), "NAME", &["shop", "postgresql/v1", "shared", "ready"]);
    look_around(&layer);

    let binding = bind_and_use(&layer);
    let id = rotate(&layer, &binding);
    renew(&layer, &id);
    unbind(&layer, &id);
    delete(&layer);
    dedicated(&layer);
    // Nothing went wrong, so that nothing is worth a word after the start.
    let log = layer.log();
    let words: Vec<&str> = log.lines().filter(|line| line.contains("\"level\"")).skip(2).collect();
    assert_eq!(words, [""; 0]);
}

fn look_around(layer: &Layer) {
    let instance = layer.cli(&["get", "shop", "-o", "json"]).json();
    let expected = json!({
        "name": "shop", "tenant": "default", "environment": "default", "contract": "postgresql/v1", "plan": "shared",
        "engine": "postgresql", "cluster": SHARED, "state": "ready", "bindings": 0,
        "endpoint": { "host": "127.0.0.1", "port": layer.postgresql_port() },
        "recovery": {
            "state": "unprotected", "latest_recovery_point": null, "proven_at": null, "rto_seconds": null,
            "rpo_seconds": null,
        },
    });
    assert_has(&instance, &expected);
    assert!(instance["created_at"].as_str().unwrap().ends_with('Z'), "{instance}");
    assert_eq!(layer.cli(&["list", "-o", "json"]).json()["items"], json!([instance]));
    assert!(layer.cli(&["list", "-o", "yaml"]).succeed().contains("name: shop\n"));
    assert_row(&layer.cli(&["list"]).succeed(), "NAME", &["shop", "ready"]);

    let status = layer.cli(&["status", "-o", "json"]).json();
    assert_has(&status, &json!({ "ready": true, "instances": { "ready": 1 } }));
    let text = layer.cli(&["status"]).succeed();
    assert!(["journal", "custody", SHARED].iter().all(|dependency| text.contains(dependency)), "{text}");
    assert!(layer.cli(&["status", "shop"]).succeed().contains("unprotected"));

    let offerings = layer.cli(&["offerings", "-o", "json"]).json();
    let find = |contract: &str| offerings["items"].as_array().unwrap().iter().find(|item| item["contract"] == contract);
    assert_has(find("s3/v1").unwrap(), &json!({ "engine": "objectstore", "available": true, "plans": ["shared"] }));
    let offering = find("postgresql/v1").unwrap();
    assert_has(offering, &json!({ "contract": "postgresql/v1", "engine": "postgresql", "available": true }));
    assert_eq!(offering["plans"], json!(["shared", "dedicated"]));
    assert_row(&layer.cli(&["offerings"]).succeed(), "CONTRACT", &["postgresql/v1", "shared,dedicated"]);
    let cluster = &layer.cli(&["clusters", "-o", "json"]).json()["items"][0];
    assert_has(cluster, &json!({ "name": SHARED, "plan": "shared", "state": "ready", "instances": 1 }));
    assert_row(&layer.cli(&["clusters"]).succeed(), "NAME", &[SHARED, "postgresql", "ready"]);
}

fn bind_and_use(layer: &Layer) -> Value {
    let binding = layer.cli(&["bind", "shop", "--consumer", "web", "--ttl", "24h", "--format", "json"]).json();
    assert_has(&binding, &json!({ "instance": "shop", "consumer": "web", "lease_seconds": 86_400 }));
    assert!(binding["expires_at"].is_string(), "{binding}");
    layer.psql(&uri_of(&binding), "CREATE TABLE carts (id int); INSERT INTO carts VALUES (1)");

    let uri = layer.cli(&["bind", "shop", "--consumer", "cron", "--format", "uri"]);
    assert!(uri.stderr.contains("mainstay unbind b-"), "{uri:?}");
    assert_eq!(layer.psql(uri.succeed().trim_end(), "SELECT id FROM carts"), "1");

    let out = layer.scratch().join("bindings");
    let directory =
        layer.cli(&["bind", "shop", "--consumer", "dir", "--format", "dir", "--out", out.to_str().unwrap()]);
    assert_eq!(directory.succeed(), format!("{}\n", out.join("shop").display()));
    let from_file = std::fs::read_to_string(out.join("shop/uri")).unwrap();
    assert_eq!(layer.psql(&from_file, "SELECT id FROM carts"), "1");

    let variables = layer.cli(&["bind", "shop", "--consumer", "sh"]).succeed();
    let uri = variables.lines().find_map(|line| line.split_once("SHOP_URI=")).unwrap().1;
    assert_eq!(layer.psql(uri.trim_matches('\''), "SELECT id FROM carts"), "1");
    binding
}

fn rotate(layer: &Layer, binding: &Value) -> String {
    let id = binding["id"].as_str().unwrap();
    let rotated = layer.cli(&["rotate", id, "--overlap", "4s", "--format", "json"]).json();
    assert_eq!(rotated["id"], *id);
    let (old, new) = (uri_of(binding), uri_of(&rotated));
    assert_ne!(old, new);
    for uri in [&old, &new] {
        assert_eq!(layer.psql(uri, "SELECT id FROM carts"), "1", "both serve while they overlap");
    }

    let listed = layer.cli(&["bindings", "shop", "-o", "json"]);
    assert!(!listed.stdout.contains("postgresql://"), "a listing shows no secret");
    let listed = listed.json();
    let own = listed["items"].as_array().unwrap().iter().find(|item| item["id"] == *id).unwrap();
    assert_has(own, &json!({ "consumer": "web", "state": "ready", "generation": 2 }));
    assert_eq!(own["retiring"][0]["generation"], 1);
    assert_row(&layer.cli(&["bindings", "shop"]).succeed(), "ID", &[id, "shop", "web", "ready"]);

    until("the old credentials are refused", PATIENCE, || layer.try_psql(&old, "SELECT 1").err());
    assert_eq!(layer.psql(&new, "SELECT id FROM carts"), "1");
    layer.psql(&new, "CREATE TABLE of_the_new ()");
    id.to_owned()
}

fn renew(layer: &Layer, id: &str) {
    let path = format!("/api/v1/bindings/{id}");
    let before = layer.api().get(&path).expect(200);
    let after = layer.api().post(&format!("{path}/renew"), &json!({ "ttl": "48h" })).expect(200);
    assert_eq!(after["lease_seconds"], 172_800);
    assert!(after["expires_at"].as_str() > before["expires_at"].as_str(), "{after}");
    let end = after["expires_at"].as_str().unwrap();
    // Servers know whole seconds, and a credential never ends before its lease.
    let renewed = format!(
        "SELECT EXISTS (SELECT FROM pg_roles WHERE rolvaliduntil BETWEEN '{end}' AND timestamptz '{end}' + '1 s')"
    );
    let superuser = layer.superuser(SHARED, layer.postgresql_port());
    until("the server knows of the new expiry", PATIENCE, || (layer.psql(&superuser, &renewed) == "t").then_some(()));
}

fn unbind(layer: &Layer, id: &str) {
    let rotated = layer.cli(&["rotate", id, "--overlap", "1h", "--format", "json"]).json();
    let uri = uri_of(&rotated);
    let mut psql = Command::new("psql");
    psql.args(["-Xc", "SELECT pg_sleep(600)", &uri]).stdout(Stdio::null()).stderr(Stdio::piped());
    let session = psql.spawn().unwrap();
    let superuser = layer.superuser(SHARED, layer.postgresql_port());
    until("the session is open", PATIENCE, || {
        let sleeping = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)' AND state = 'active'";
        (layer.psql(&superuser, sleeping) == "1").then_some(())
    });
    let unbound = layer.cli(&["unbind", id]);
    assert_eq!((unbound.stderr.as_str(), unbound.stdout.as_str()), (&*format!("Ended {id}.\n"), ""), "{unbound:?}");
    let ended = session.wait_with_output().unwrap();
    assert!(String::from_utf8(ended.stderr).unwrap().contains("terminating connection"));
    let refused = layer.try_psql(&uri, "SELECT 1").unwrap_err();
    assert!(refused.contains("password authentication failed"), "{refused}");
    let gone = layer.cli(&["unbind", id]).fail(1);
    assert!(gone.contains("no binding has the id") && gone.contains("mainstay bindings"), "{gone}");
}

fn delete(layer: &Layer) {
    let refused = layer.cli(&["delete", "shop", "--yes"]).fail(1);
    assert!(refused.contains("3 live bindings") && refused.contains("delete shop --force"), "{refused}");
    let answer = layer.api().delete("/api/v1/instances/shop");
    assert_eq!(answer.content_type, "application/problem+json");
    assert_eq!(answer.expect(409)["code"], "instance_has_bindings");
    let deleted = layer.cli(&["delete", "shop", "--yes", "--force", "-o", "json"]).json();
    assert_has(&deleted, &json!({ "kind": "delete-instance", "state": "succeeded", "progress": 100 }));
    assert!(deleted["steps"].is_array() && deleted["id"].is_string(), "{deleted}");
    assert!(layer.cli(&["get", "shop"]).fail(1).contains("no instance is called shop"));
    let databases = layer.psql(&layer.superuser(SHARED, layer.postgresql_port()), "SELECT datname FROM pg_database");
    assert!(!databases.contains("db_"), "{databases}");
}

fn dedicated(layer: &Layer) {
    let create = ["create", "postgresql/v1", "own", "--plan", "dedicated", "--set", "memory_mib=128", "-o", "json"];
    let own = layer.cli(&create).json();
    assert_has(&own, &json!({ "plan": "dedicated", "state": "ready", "parameters": { "memory_mib": "128" } }));
    assert_ne!(own["endpoint"]["port"], layer.postgresql_port());
    let uri = layer.cli(&["bind", "own", "--consumer", "web", "--format", "uri"]).succeed();
    assert_eq!(layer.psql(uri.trim_end(), "SELECT 40 + 2"), "42");
    layer.cli(&["delete", "own", "--yes", "--force"]).succeed();
    let directory = layer.data_dir().join("clusters").join(own["cluster"].as_str().unwrap());
    until("its cluster is gone", PATIENCE, || (!directory.exists()).then_some(()));
    let clusters = layer.cli(&["clusters", "-o", "json"]).json();
    assert_eq!(clusters["items"].as_array().unwrap().len(), 1, "{clusters}");
}

#[test]
fn exit_codes_and_messages() {
    let layer = Layer::shared();
    let cases: [(&[&str], i32, &[&str]); 15] = [
        (&[], 2, &["Usage"]),
        (&["frobnicate"], 2, &["frobnicate"]),
        (&["list", "--colour"], 2, &["--colour"]),
        (&["create", "postgresql/v1", "Shop"], 2, &["lowercase"]),
        (&["create", "postgres", "shop"], 2, &["PROTOCOL/vN"]),
        (&["bind", "shop", "--consumer", "a b"], 2, &["--consumer"]),
        (&["bind", "shop", "--consumer", "web", "--format", "dir"], 2, &["--out"]),
        (&["delete", "shop"], 2, &["--yes"]),
        (&["create", "mysql/v1", "shop"], 1, &["mysql/v1", "not offered", "postgresql/v1"]),
        (&["create", "postgresql/v1", "shop", "--engine", "oracle"], 1, &["oracle", "postgresql"]),
        (&["create", "postgresql/v1", "shop", "--set", "speed=9"], 1, &["speed", "connection_limit"]),
        (&["get", "nobody"], 1, &["no instance is called nobody", "mainstay list"]),
        (&["unbind", "b-0123456789ab"], 1, &["no binding has the id"]),
        (&["list", "--token", "mst_forged_1"], 1, &["token", "mainstay token create"]),
        (&["list", "--address", "http://127.0.0.1:1"], 1, &["nothing answers", "mainstay up"]),
    ];
    for (arguments, code, said) in cases {
        let stderr = layer.cli(arguments).fail(code);
        assert!(said.iter().all(|said| stderr.contains(said)), "{arguments:?}: {stderr}");
        assert!(code == 2 || stderr.lines().count() <= 2, "{arguments:?}: one or two lines: {stderr}");
    }
}

#[test]
fn a_name_is_taken_once() {
    let layer = Layer::shared();
    layer.cli(&["create", "postgresql/v1", "taken"]).succeed();
    let refused = layer.cli(&["create", "postgresql/v1", "taken"]).fail(1);
    assert!(refused.contains("exists already") && refused.contains("mainstay get taken"), "{refused}");
}

#[test]
fn a_token_is_shown_once_and_works() {
    let layer = Layer::shared();
    let made =
        layer.cli(&["token", "create", "--role", "viewer", "--tenant", "acme", "--ttl", "1h", "-o", "json"]).json();
    assert_has(&made, &json!({ "role": "viewer", "tenant": "acme" }));
    let (id, token) = (made["id"].as_str().unwrap(), made["token"].as_str().unwrap());
    assert!(made["expires_at"].is_string());
    assert!(layer.cli(&["list", "--token", token]).stderr.contains("No instances"));
    let tokens = layer.cli(&["token", "list"]).succeed();
    assert!(tokens.contains(id) && !tokens.contains(token), "{tokens}");
    layer.cli(&["token", "revoke", id]).succeed();
    layer.cli(&["list", "--token", token]).fail(1);
}

#[test]
fn a_reader_that_has_enough_is_no_failure() {
    let mut events = Layer::shared().command();
    let mut events = events.args(["events"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(events.stdout.take());
    let ended = events.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), String::from_utf8(ended.stderr).unwrap().as_str()), (Some(0), ""));
}

#[test]
fn colour_is_for_terminals() {
    let layer = Layer::shared();
    layer.create("coloured");
    assert!(!layer.cli(&["list"]).succeed().contains('\u{1b}'));
    let mut script = Command::new("script");
    script.args(["-qec", "\"$MAINSTAY\" list", "/dev/null"]).env("MAINSTAY", layer.command().get_program());
    script.envs(layer.command().get_envs().filter_map(|(name, value)| Some((name, value?)))).env("TERM", "xterm");
    let seen = script.stdin(Stdio::null()).env_remove("NO_COLOR").output().unwrap();
    assert!(String::from_utf8_lossy(&seen.stdout).contains("\u{1b}["), "{seen:?}");
}

/// A table has a heading, and a row with these words.
#[track_caller]
fn assert_row(table: &str, heading: &str, words: &[&str]) {
    assert!(table.starts_with(heading), "{table}");
    let row = table.lines().skip(1).any(|line| words.iter().all(|word| line.split_whitespace().any(|w| w == *word)));
    assert!(row, "no row with {words:?} in:\n{table}");
}

/// An object has these members, and may have others.
#[track_caller]
fn assert_has(found: &Value, expected: &Value) {
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&found[name], value, "{name} of {found}");
    }
}
