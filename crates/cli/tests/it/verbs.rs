use std::process::Stdio;

use crate::api::Api;
use crate::{PASSWORD, mainstay, outcome, run};

pub const SHOP: &str = r#"{"id":"i-000000000001","name":"shop","tenant":"default","environment":"default",
    "contract":"postgresql/v1","plan":"shared","engine":"postgresql","cluster":"postgresql-shared","state":"ready",
    "endpoint":{"host":"127.0.0.1","port":7432},"parameters":{},"recovery":{"state":"unprotected",
    "latest_recovery_point":null,"proven_at":null,"rto_seconds":null,"rpo_seconds":null},"bindings":0,
    "created_at":"2020-01-01T00:00:00Z"}"#;

pub const BOUND: &str = r#"{"id":"b-000000000001","instance":"shop","consumer":"app","lease_seconds":86400,
    "expires_at":"2030-01-01T00:00:00Z","credentials":{"type":"postgresql","provider":"mainstay","host":"127.0.0.1",
    "port":7432,"database":"i_1","username":"b_1","password":"canary-password",
    "uri":"postgresql://b_1:canary-password@127.0.0.1:7432/i_1?sslmode=disable"}}"#;

const DONE: &str = r#"{"id":"op-000000000001","kind":"create-instance","subject":{"kind":"instance","id":"i-1"},
    "state":"succeeded","progress":100,"steps":[],"created_at":"2020-01-01T00:00:00Z"}"#;

#[test]
fn create_waits_and_shows_the_instance() {
    let busy = DONE.replace("succeeded", "in progress");
    let api = Api::start(&[
        ("POST /instances", 202, &busy),
        ("GET /operations/op-", 200, DONE),
        ("GET /instances/shop", 200, SHOP),
    ]);
    let (code, stdout, stderr) = run(&api, &["create", "postgresql/v1", "shop"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(
        stdout.starts_with("NAME  CONTRACT       PLAN    STATE  ENVIRONMENT  ENDPOINT        RECOVERY"),
        "{stdout}"
    );
    assert!(
        stdout.contains("shop  postgresql/v1  shared  ready  default      127.0.0.1:7432  unprotected"),
        "{stdout}"
    );
    let (code, stdout, _) = run(&api, &["create", "postgresql/v1", "shop", "-o", "json"]);
    let (printed, said): (serde_json::Value, serde_json::Value) =
        (serde_json::from_str(&stdout).unwrap(), serde_json::from_str(SHOP).unwrap());
    assert_eq!((code, printed), (0, said));
}

#[test]
fn what_failed_is_said_with_its_reason() {
    let failed = DONE.replace(r#""succeeded""#, r#""failed","error":{"code":"x","detail":"the disk is full"}"#);
    let problem = r#"{"status":422,"detail":"there is no contract nosql/v1","field":"contract","remedy":"see `mainstay offerings`"}"#;
    let api = Api::start(&[("POST /instances", 202, &failed)]);
    assert_eq!(
        run(&api, &["create", "postgresql/v1", "shop"]),
        (1, String::new(), "error: creating shop failed: the disk is full\n".into())
    );
    let api = Api::start(&[("POST /instances", 422, problem)]);
    assert_eq!(
        run(&api, &["create", "nosql/v1", "shop"]),
        (1, String::new(), "error: there is no contract nosql/v1\n  remedy: see `mainstay offerings`\n".into())
    );
}

#[test]
fn bind_hands_out_what_was_asked_for() {
    let api = Api::start(&[("POST /instances/shop/bindings", 201, BOUND)]);
    let (code, stdout, stderr) = run(&api, &["bind", "shop", "--consumer", "app", "--ttl", "24h"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("SHOP_PASSWORD=canary-password\nSHOP_PORT=7432\n"), "{stdout}");
    assert!(
        stdout.contains("SHOP_URI='postgresql://b_1:canary-password@127.0.0.1:7432/i_1?sslmode=disable'\n"),
        "{stdout}"
    );
    assert_eq!(stderr, "Binding b-000000000001: expires in 24h, ends with `mainstay unbind b-000000000001`.\n");
    assert_eq!(api.seen()[0], r#"POST /instances/shop/bindings {"consumer":"app","ttl":86400}"#);

    let (_, stdout, _) = run(&api, &["bind", "shop", "--consumer", "app", "--format", "uri"]);
    assert_eq!(stdout, "postgresql://b_1:canary-password@127.0.0.1:7432/i_1?sslmode=disable\n");
    let (_, stdout, _) = run(&api, &["bind", "shop", "--consumer", "app", "--format", "json"]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&stdout).unwrap()["credentials"]["password"], PASSWORD);

    let out = tempfile::tempdir().unwrap();
    let directory = out.path().to_str().unwrap();
    let (code, stdout, _) = run(&api, &["bind", "shop", "--consumer", "app", "--out", directory]);
    assert_eq!((code, stdout), (0, format!("{directory}/shop\n")));
    assert_eq!(std::fs::read_to_string(out.path().join("shop/password")).unwrap(), PASSWORD);
    assert_eq!(std::fs::read_to_string(out.path().join("shop/port")).unwrap(), "7432");
}

#[test]
fn credentials_that_reached_nobody_are_ended() {
    let api = Api::start(&[("POST /instances/shop/bindings", 201, BOUND), ("DELETE /bindings/b-", 202, DONE)]);
    let (code, stdout, stderr) = run(&api, &["bind", "shop", "--consumer", "app", "--out", "/proc/nowhere"]);
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.starts_with("error: the files of shop cannot be written to /proc/nowhere: "), "{stderr}");
    assert_eq!(api.seen()[1], "DELETE /bindings/b-000000000001");
}

#[test]
fn nothing_is_deleted_by_mistake() {
    let api = Api::start(&[("DELETE /instances/shop", 200, DONE)]);
    let output = mainstay(&api).args(["delete", "shop"]).stdin(Stdio::null()).output().unwrap();
    let (code, _, stderr) = outcome(output);
    assert_eq!(code, 2);
    assert_eq!(stderr, "error: deleting shop removes all its data, and nobody can be asked\n  remedy: say --yes\n");
    assert!(api.seen().is_empty());
    let (code, stdout, stderr) = run(&api, &["delete", "shop", "--yes", "--force"]);
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (0, "", "Deleted shop with all its data.\n"));
    assert_eq!(api.seen(), ["DELETE /instances/shop?force=true&wait=1s", "GET /instances/shop/backups?limit=1"]);
}

#[test]
fn a_reader_that_has_enough_is_no_error() {
    let api = Api::start(&[("GET /instances", 200, &format!(r#"{{"items":[{SHOP}],"next":null}}"#))]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = mainstay(&api).arg("list").stdout(writer).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(outcome(output), (0, String::new(), String::new()));
}

#[test]
fn an_empty_list_is_said_to_people_and_shown_to_programs() {
    let api = Api::start(&[("GET /instances", 200, r#"{"items":[],"next":null}"#)]);
    assert_eq!(run(&api, &["list"]), (0, String::new(), "No instances.\n".into()));
    let (code, stdout, _) = run(&api, &["list", "-o", "json"]);
    assert_eq!((code, stdout.replace([' ', '\n'], "")), (0, r#"{"items":[],"next":null}"#.to_owned()));
}

#[test]
fn status_tells_whether_the_layer_is_ready() {
    let status = |ready: bool| {
        format!(
            r#"{{"version":"0.1.0","ready":{ready},"dependencies":[{{"name":"journal","ready":{ready},"detail":"it is full"}}],
                "journal":{{"sequence":7}},"instances":{{"ready":2}},"data_as_of":"2020-01-01T00:00:00Z"}}"#
        )
    };
    let (code, stdout, _) = run(&Api::start(&[("GET /status", 200, &status(true))]), &["status"]);
    assert!(code == 0 && stdout.contains("journal:    ready\nInstances:  2 ready\n"), "{stdout}");
    let (code, stdout, _) = run(&Api::start(&[("GET /status", 200, &status(false))]), &["status"]);
    assert!(code == 1 && stdout.contains("journal:    not ready: it is full\n"), "{stdout}");
}

#[test]
fn wrong_usage_exits_with_2_and_keeps_the_token_to_itself() {
    let api = Api::start(&[]);
    for arguments in
        [&["get", "Shop"][..], &["bind", "shop"], &["frobnicate"], &["unbind", "shop"], &["list", "-o", "xml"]]
    {
        let (code, stdout, stderr) = run(&api, arguments);
        assert!(code == 2 && stdout.is_empty() && stderr.starts_with("error: "), "{arguments:?}: {stderr}");
    }
    assert!(api.seen().is_empty());
    let output = mainstay(&api).env("MAINSTAY_TOKEN", "canary token").arg("list").output().unwrap();
    assert!(!String::from_utf8_lossy(&output.stderr).contains("canary"), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_token_is_found_where_up_left_it() {
    let api = Api::start(&[("GET /instances", 200, r#"{"items":[],"next":null}"#)]);
    let directory = tempfile::tempdir().unwrap();
    let list = |directory: &std::path::Path| {
        let mut command = mainstay(&api);
        command.env_remove("MAINSTAY_TOKEN").arg("list").arg("--data-dir").arg(directory);
        outcome(command.output().unwrap())
    };
    let (code, _, stderr) = list(directory.path());
    assert!(code == 1 && stderr.contains("admin.token cannot be read: No such file"), "{stderr}");
    assert!(stderr.contains("  remedy: start the layer with `mainstay up`"), "{stderr}");
    std::fs::write(directory.path().join("admin.token"), "t-1\n").unwrap();
    assert_eq!(list(directory.path()).0, 0);
}
