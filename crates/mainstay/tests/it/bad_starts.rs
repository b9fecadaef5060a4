//! Starts that cannot go well: each is refused with what is wrong and what to do, and nothing is made worse.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::harness::{Layer, Options, may_mount, until, uri_of};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_taken_port_of_the_api() {
    let layer = Layer::new(Options::default());
    let address = layer.address().replace("http://", "");
    let taken = TcpListener::bind(&address).unwrap();
    let refused = layer.cli(&["up"]).fail(1);
    assert_says(&refused, &[&format!("cannot listen on {address}"), "Listen:Api", "Listen__Api", "in use"]);
    let refused = layer.cli(&["up", "--detach"]).fail(1);
    assert_says(&refused, &[&format!("cannot listen on {address}"), "Listen__Api"]);
    drop(taken);
    layer.cli(&["up", "--detach"]).succeed();
    layer.cli(&["down"]).succeed();
}

#[test]
fn a_taken_port_of_postgresql() {
    let layer = Layer::start(Options::default());
    let taken = TcpListener::bind(("127.0.0.1", layer.postgresql_port())).unwrap();
    let refused = layer.cli(&["create", "postgresql/v1", "shop"]).fail(1);
    let port = layer.postgresql_port().to_string();
    assert_says(&refused, &["creating shop failed", &format!("port {port} on 127.0.0.1"), "is taken", "ss -ltnp"]);

    let operation = &layer.api().all("/api/v1/operations")[0];
    assert_eq!((&operation["state"], &operation["error"]["code"]), (&json!("failed"), &json!("cluster_failed")));
    let instance = layer.api().get("/api/v1/instances/shop").expect(200);
    assert_eq!(instance["state"], "failed");
    assert_says(instance["reason"].as_str().unwrap(), &["is taken", "ss -ltnp"]);
    assert_eq!(layer.api().all("/api/v1/clusters")[0]["state"], "failed");

    drop(taken);
    until("it is made once the port is free", PATIENCE, || {
        (layer.api().get("/api/v1/instances/shop").expect(200)["state"] == "ready").then_some(())
    });
    assert_eq!(layer.psql(&uri_of(&layer.bind("shop", "app")), "SELECT 1"), "1");
}

#[test]
fn a_data_directory_that_cannot_be_written() {
    let layer = Layer::new(Options::default());
    let file = layer.scratch().join("file");
    std::fs::write(&file, "").unwrap();
    let refused = layer.cli(&["up", "--data-dir", file.to_str().unwrap()]).fail(1);
    assert_says(&refused, &["data directory", file.to_str().unwrap(), "cannot be written", "--data-dir"]);
    layer.cli(&["up", "--detach", "--data-dir", file.to_str().unwrap()]).fail(1);

    if !may_mount() {
        return;
    }
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", "ro,size=1m", "mainstay-test"]).arg(layer.data_dir());
    assert!(mount.status().unwrap().success());
    let refused = layer.cli(&["up"]).fail(1);
    assert_says(&refused, &["data directory", "cannot be written", "Read-only file system", "--data-dir"]);
}

#[test]
fn a_second_start_on_one_data_directory() {
    let layer = Layer::start(Options::default());
    let refused = layer.cli(&["up"]).fail(1);
    assert_says(&refused, &["in use by process", &layer.pid().to_string(), "mainstay down"]);
    let told = layer.cli(&["up", "--detach"]).succeed();
    assert_says(&told, &["runs already", &layer.pid().to_string()]);
    assert!(layer.is_ready(), "the one that runs is not disturbed");
}

#[test]
fn a_master_key_that_is_missing_wrong_or_exposed() {
    let mut layer = Layer::start(Options::default());
    layer.create("shop");
    let uri = uri_of(&layer.bind("shop", "app"));
    layer.stop();
    let key = layer.data_dir().join("custody/master.key");
    let right = std::fs::read(&key).unwrap();
    let write = |bytes: &[u8], mode| {
        std::fs::write(&key, bytes).unwrap();
        std::fs::set_permissions(&key, PermissionsExt::from_mode(mode)).unwrap();
    };

    write(&right, 0o640);
    assert_says(&layer.cli(&["up"]).fail(1), &["can be read by others (mode 0640)", "chmod 600"]);
    write(&[7; 32], 0o600);
    assert_says(&layer.cli(&["up"]).fail(1), &["master key", "is not the one that the secrets are sealed with"]);
    write(&right[..31], 0o600);
    assert_says(&layer.cli(&["up"]).fail(1), &["holds 31 instead of 32 bytes"]);
    std::fs::remove_file(&key).unwrap();
    let missing = layer.cli(&["up"]).fail(1);
    assert_says(&missing, &["master key"]);
    let named = layer.command().arg("up").env("Custody__KeyFile", "/nowhere/key").output().unwrap();
    assert_says(&String::from_utf8(named.stderr).unwrap(), &["/nowhere/key does not exist", "head -c 32"]);

    write(&right, 0o600);
    layer.restart();
    until("all is as before", PATIENCE, || layer.try_psql(&uri, "SELECT 1").ok());
    layer.cli(&["bind", "shop", "--consumer", "another"]).succeed();
}

#[test]
fn production_without_its_settings() {
    let layer = Layer::new(Options::default());
    let server = |environment: &[(&str, &str)]| {
        let mut command = layer.command();
        let output = command.arg("server").envs(environment.iter().copied()).output().unwrap();
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &[][..]), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let all = server(&[]);
    assert_says(
        &all,
        &["2 mistakes", "Storage:Driver is not set", "Storage__Driver", "postgres", "filesystem", "inmemory"],
    );
    assert_says(&all, &["ConnectionStrings__Default", "Custody:KeyFile is not set", "Custody__KeyFile", "head -c 32"]);
    assert_eq!(all.matches("error:").count(), 1, "one message: {all}");

    assert_says(
        &server(&[("Storage__Driver", "postgres")]),
        &["ConnectionStrings:Default is not set", "postgresql://"],
    );
    assert_says(&server(&[("Storage__Driver", "filesystem")]), &["production refuses", "Runtime:Environment"]);
    assert_says(&server(&[("Storage__Driver", "postgers")]), &["did you mean postgres?"]);
    assert_says(&server(&[("Storage__Drvier", "postgres")]), &["did you mean Storage:Driver (Storage__Driver)?"]);
    assert_says(&server(&[("Log__Colour", "red")]), &["Log:Colour is not a key", "Log:Format, Log:Filter"]);
    let contradiction = [("Runtime__Environment", "development"), ("Storage__Driver", "filesystem")];
    let contradiction = [&contradiction[..], &[("ConnectionStrings__Default", "postgresql://u:hunter2@h/d")]].concat();
    let told = server(&contradiction);
    assert_says(&told, &["is filesystem, while ConnectionStrings:Default names a PostgreSQL database"]);
    assert!(!told.contains("hunter2"), "{told}");

    let key = layer.scratch().join("key");
    std::fs::write(&key, [7; 32]).unwrap();
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
    let away = server(&[
        ("ConnectionStrings__Default", "postgresql://u:hunter2@127.0.0.1:1/d"),
        ("Custody__KeyFile", key.to_str().unwrap()),
    ]);
    assert_says(&away, &["journal", "127.0.0.1:1", "cannot be opened"]);
    assert!(!away.contains("hunter2"), "{away}");
    assert!(!layer.data_dir().join("storage").exists(), "nothing falls back to files");
}

#[test]
fn a_file_with_mistakes() {
    let layer = Layer::new(Options::default());
    let file = layer.scratch().join("mainstay.toml");
    std::fs::write(&file, "[Storage]\nDrivr = \"filesystem\"\n[Listen]\nApi = \"localhost\"\nPostgreSQL = 7\n")
        .unwrap();
    let mut up = layer.command();
    up.args(["up", "--config", file.to_str().unwrap()]).env_remove("Listen__Api").env_remove("Listen__PostgreSQL");
    let refused = String::from_utf8(up.output().unwrap().stderr).unwrap();
    let line = |number| format!("mainstay.toml:{number}");
    assert_says(
        &refused,
        &["3 mistakes", &line(2), &line(4), &line(5), "did you mean Storage:Driver", "\"localhost\""],
    );
    let none = layer.cli(&["up", "--config", "/nowhere.toml"]).fail(1);
    assert_says(&none, &["/nowhere.toml"]);
}

#[test]
fn a_journal_that_was_damaged_in_the_middle() {
    let mut layer = Layer::start(Options::default());
    layer.create("shop");
    let last = layer.events().len();
    let verified = layer.cli(&["journal", "verify", "-o", "json"]).json();
    assert_eq!(verified["events"], last, "it can be verified while the layer runs");
    // Killed, so that no snapshot stands in for the events.
    layer.kill();

    let (storage, copy) = (layer.data_dir().join("storage"), layer.scratch().join("storage"));
    copy_directory(&storage, &copy);
    let journal = storage.join("journal.sqlite");
    sql(
        &journal,
        "UPDATE events SET body = CAST(substr(body, 1, 60) || x'ff' || substr(body, 62) AS BLOB) WHERE sequence = 4",
    );
    let verified = layer.cli(&["journal", "verify"]).fail(1);
    assert_says(&verified, &["event 4"]);
    let refused = layer.cli(&["up"]).fail(1);
    assert_says(&refused, &["journal is broken", "event 4", "mainstay journal verify"]);
    assert_eq!(sql(&journal, "SELECT count(*) FROM events"), last.to_string(), "nothing was cut off");

    sql(&journal, "DELETE FROM events WHERE sequence = 3");
    assert_says(&layer.cli(&["journal", "verify"]).fail(1), &["event 3", "missing"]);
    assert_says(&layer.cli(&["up"]).fail(1), &["event 3"]);

    std::fs::remove_dir_all(&storage).unwrap();
    copy_directory(&copy, &storage);
    layer.restart();
    assert_eq!(layer.api().get("/api/v1/instances/shop").expect(200)["state"], "ready");
}

#[test]
fn a_journal_that_was_damaged_below_its_snapshot() {
    let mut layer = Layer::start(Options::default());
    layer.create("shop");
    layer.stop();
    let journal = layer.data_dir().join("storage/journal.sqlite");
    let snapshot: u64 = sql(&journal, "SELECT max(sequence) FROM snapshots").parse().unwrap();
    assert!(snapshot > 3, "a stop in order leaves a snapshot");
    sql(&journal, "UPDATE events SET body = CAST(x'ff' || substr(body, 2) AS BLOB) WHERE sequence = 3");

    // The view does not need the event, so that the layer serves; whoever asks for the event is not passed over it.
    layer.restart();
    assert_says(&layer.cli(&["journal", "verify"]).fail(1), &["event 3"]);
    assert_eq!(layer.api().get("/api/v1/events").expect(500)["code"], "internal");
    assert_says(&layer.log(), &["event 3 does not fit"]);
    assert_eq!(layer.api().get("/api/v1/events?after=3").expect(200)["items"][0]["sequence"], 4);
}

fn copy_directory(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}

/// Runs SQL on a file of SQLite's, behind the layer's back.
fn sql(file: &Path, statement: &str) -> String {
    let script = "import sqlite3, sys\nwith sqlite3.connect(sys.argv[1]) as c:\n    print(*(r[0] for r in c.execute(sys.argv[2])))";
    let output = Command::new("python3").args(["-c", script]).arg(file).arg(statement).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[track_caller]
fn assert_says(text: &str, said: &[&str]) {
    let missing: Vec<_> = said.iter().filter(|said| !text.contains(**said)).collect();
    assert!(missing.is_empty(), "{missing:?} is not said in:\n{text}");
}
