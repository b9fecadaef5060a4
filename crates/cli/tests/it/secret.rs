use std::io::Write;
use std::process::{Command, Stdio};

use crate::api::Api;
use crate::{PASSWORD, TOKEN, mainstay, outcome, run};

pub const KEPT: (&str, u16, &str) = (
    "GET /v1/sys/internal/ui/mounts/secret",
    200,
    r#"{"data":{"path":"secret/","type":"kv","options":{"version":"2"}},"warnings":null}"#,
);
pub const APP: (&str, u16, &str) = (
    "GET /v1/secret/data/app",
    200,
    r#"{"request_id":"r","lease_id":"","data":{"data":{"password":"canary-password","port":5432},
        "metadata":{"version":3,"created_time":"2020-01-01T00:00:00Z","deletion_time":"","destroyed":false}}}"#,
);
const PLAIN: (&str, u16, &str) =
    ("GET /v1/sys/internal/ui/mounts/kv1", 200, r#"{"data":{"path":"kv1/","type":"kv","options":{"version":"1"}}}"#);
const WRITTEN: &str = r#"{"data":{"version":4,"created_time":"2020-01-01T00:00:00Z"}}"#;

fn with_input(mut command: Command, input: &str) -> (i32, String, String) {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    outcome(child.wait_with_output().unwrap())
}

#[test]
fn put_asks_for_the_mount_and_writes_as_it_wants() {
    let api = Api::start(&[KEPT, PLAIN, ("POST /v1/secret/data/app", 200, WRITTEN), ("POST /v1/kv1/app", 204, "")]);
    let said = (0, String::new(), "Written: secret/app, version 4.\n".to_owned());
    assert_eq!(run(&api, &["secret", "put", "/secret/app/", "user=u", "--cas", "3"]), said);
    assert_eq!(api.seen().last().unwrap(), r#"POST /v1/secret/data/app {"data":{"user":"u"},"options":{"cas":3}}"#);

    let mut command = mainstay(&api);
    command.args(["secret", "put", "secret/app", "password=-", "user=u"]);
    assert_eq!(with_input(command, PASSWORD), said);
    let body = format!(r#"{{"data":{{"password":"{PASSWORD}","user":"u"}}}}"#);
    assert_eq!(api.seen().last().unwrap(), &format!("POST /v1/secret/data/app {body}"));

    let mut command = mainstay(&api);
    command.args(["secret", "put", "kv1/app", "-"]);
    assert_eq!(with_input(command, r#"{"n": 7}"#), (0, String::new(), "Written: kv1/app.\n".to_owned()));
    assert_eq!(api.seen().last().unwrap(), r#"POST /v1/kv1/app {"n":7}"#);
    let (code, _, stderr) = run(&api, &["secret", "put", "kv1/app", "a=b", "--cas", "1"]);
    assert!(code == 2 && stderr.contains("--cas needs versions, which kv1/ does not keep"), "{stderr}");
    let (code, _, stderr) = run(&api, &["secret", "put", "secret", "a=b"]);
    assert!(code == 2 && stderr.contains("secret is a mount and no secret"), "{stderr}");
}

#[test]
fn get_is_a_table_a_bare_value_or_the_answer() {
    let api = Api::start(&[KEPT, APP]);
    let (code, stdout, stderr) = run(&api, &["secret", "get", "secret/app"]);
    assert_eq!((code, stdout.as_str()), (0, "password:  canary-password\nport:      5432\n"));
    assert_eq!(stderr, "Version 3 of secret/app, of 2020-01-01T00:00:00Z.\n");
    assert_eq!(
        run(&api, &["secret", "get", "secret/app", "--field", "password"]),
        (0, PASSWORD.to_owned(), String::new()),
        "a program gets the value and no newline"
    );
    let (code, _, stderr) = run(&api, &["secret", "get", "secret/app", "--field", "pass"]);
    assert_eq!((code, stderr.as_str()), (2, "error: secret/app has no key pass\n  remedy: it has password, port\n"));
    let (_, stdout, _) = run(&api, &["secret", "get", "secret/app", "--version", "2", "-o", "json"]);
    let (printed, said): (serde_json::Value, serde_json::Value) =
        (serde_json::from_str(&stdout).unwrap(), serde_json::from_str(APP.2).unwrap());
    assert_eq!(printed, said);
    assert_eq!(api.seen().last().unwrap(), "GET /v1/secret/data/app?version=2");
}

#[test]
fn refusals_say_what_and_what_to_do() {
    let sealed = ("GET /v1/sys/internal", 503, r#"{"errors":["Vault is sealed"]}"#);
    let (code, _, stderr) = run(&Api::start(&[sealed]), &["secret", "get", "secret/app"]);
    assert!(code == 1 && stderr.starts_with("error: sys/internal/ui/mounts/secret/app: Vault is sealed\n"), "{stderr}");
    assert!(stderr.contains("remedy: ") && stderr.contains("mainstay custody unseal"), "{stderr}");

    let gone =
        r#"{"data":{"data":null,"metadata":{"version":3,"deletion_time":"2020-01-01T00:00:00Z","destroyed":false}}}"#;
    for (status, body, said, remedy) in [
        (403, r#"{"errors":["permission denied"]}"#, "secret/data/app: permission denied", "MAINSTAY_TOKEN"),
        (404, r#"{"errors":[]}"#, "secret/data/app: there is nothing at this path", "mainstay secret list"),
        (404, gone, "secret/data/app: version 3 was deleted at 2020-01-01T00:00:00Z", "mainstay secret undelete"),
    ] {
        let api = Api::start(&[KEPT, ("GET /v1/secret/data/app", status, body)]);
        let (code, stdout, stderr) = run(&api, &["secret", "get", "secret/app"]);
        assert_eq!((code, stdout.as_str()), (1, ""));
        assert!(stderr.contains(said) && stderr.contains(remedy), "{stderr}");
    }
}

#[test]
fn what_is_there_is_listed() {
    let keys = r#"{"data":{"keys":["app","team/"]}}"#;
    let api = Api::start(&[KEPT, ("GET /v1/secret/metadata/?list=true", 200, keys)]);
    assert_eq!(run(&api, &["secret", "list"]), (0, "app\nteam/\n".into(), String::new()));
    let none = Api::start(&[KEPT, ("GET /v1/secret/metadata/x/?list=true", 404, r#"{"errors":[]}"#)]);
    assert_eq!(run(&none, &["secret", "list", "secret/x"]), (0, String::new(), "No secrets below secret/x/.\n".into()));

    let metadata = r#"{"data":{"current_version":3,"versions":{
        "1":{"created_time":"A","deletion_time":"","destroyed":true},
        "2":{"created_time":"B","deletion_time":"2020-01-01T00:00:00Z","destroyed":false},
        "3":{"created_time":"C","deletion_time":"","destroyed":false}}}}"#;
    let api = Api::start(&[KEPT, ("GET /v1/secret/metadata/app", 200, metadata)]);
    let (_, stdout, _) = run(&api, &["secret", "history", "secret/app"]);
    assert_eq!(
        stdout,
        "VERSION  STATE      CREATED  DELETION\n3        current    C        -\n\
         2        deleted    B        2020-01-01T00:00:00Z\n1        destroyed  A        -\n"
    );
}

#[test]
fn deleting_is_soft_unless_it_is_said_and_confirmed() {
    let metadata = ("GET /v1/secret/metadata/app", 200, r#"{"data":{"current_version":3,"versions":{}}}"#);
    let api = Api::start(&[KEPT, PLAIN, metadata, ("POST /v1/secret/", 204, ""), ("DELETE /v1/", 204, "")]);
    let last = |arguments: &[&str]| {
        let (code, _, stderr) = run(&api, &[&["secret"], arguments].concat());
        assert_eq!(code, 0, "{stderr}");
        api.seen().last().unwrap().clone()
    };
    assert_eq!(last(&["delete", "secret/app"]), "DELETE /v1/secret/data/app");
    assert_eq!(
        last(&["delete", "secret/app", "--versions", "1,2"]),
        r#"POST /v1/secret/delete/app {"versions":[1,2]}"#
    );
    assert_eq!(last(&["undelete", "secret/app"]), r#"POST /v1/secret/undelete/app {"versions":[3]}"#);
    assert_eq!(last(&["delete", "secret/app", "--all", "--yes"]), "DELETE /v1/secret/metadata/app");
    let destroy = ["delete", "secret/app", "--versions", "1", "--destroy", "--yes"];
    assert_eq!(last(&destroy), r#"POST /v1/secret/destroy/app {"versions":[1]}"#);
    for arguments in [&["delete", "secret/app", "--all"][..], &["delete", "kv1/app"]] {
        let mut command = mainstay(&api);
        command.arg("secret").args(arguments);
        let (code, _, stderr) = with_input(command, "");
        assert!(code == 2 && stderr.contains("for ever, and nobody can be asked\n  remedy: say --yes"), "{stderr}");
    }
}

#[test]
fn run_gives_the_keys_of_a_secret_and_nothing_else() {
    let api = Api::start(&[KEPT, APP]);
    let script = r#"printf %s "$APP_PORT ${MAINSTAY_TOKEN-none} ${SERVICE_BINDING_ROOT-none} "; printenv APP_PASSWORD | tr a-z A-Z"#;
    let (code, stdout, stderr) = run(&api, &["run", "--secret", "secret/app=APP", "--", "sh", "-c", script]);
    assert_eq!((code, stdout.as_str()), (0, "5432 none none CANARY-PASSWORD\n"), "{stderr}");
    let (code, _, stderr) = run(&api, &["run", "--", "true"]);
    assert!(code == 2 && stderr.contains("--bind"), "{stderr}");
}

#[test]
fn a_leased_secret_is_ended_with_its_command() {
    let made = r#"{"lease_id":"database/creds/app/1","lease_duration":1,"renewable":true,"data":{"username":"u"}}"#;
    let api = Api::start(&[
        ("GET /v1/sys/internal", 200, r#"{"data":{"path":"database/","type":"database","options":null}}"#),
        ("GET /v1/database/creds/app", 200, made),
        ("POST /v1/sys/leases/renew", 200, made),
        ("POST /v1/sys/leases/revoke", 204, ""),
    ]);
    let mut command = mainstay(&api);
    command.args(["run", "--secret", "database/creds/app", "--", "sh", "-c", "echo $USERNAME; read -r _"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    crate::until(|| api.seen().iter().any(|request| request.contains("leases/renew")), || format!("{:?}", api.seen()));
    drop(child.stdin.take());
    child.wait().unwrap();
    assert_eq!(api.seen().last().unwrap(), r#"POST /v1/sys/leases/revoke {"lease_id":"database/creds/app/1"}"#);
}

#[test]
fn custody_is_looked_after() {
    let status = |sealed: bool, progress: u8| {
        format!(
            r#"{{"type":"shamir","initialized":true,"sealed":{sealed},"t":2,"n":3,"progress":{progress},"nonce":""}}"#
        )
    };
    let api = Api::start(&[("GET /v1/sys/seal-status", 200, &status(true, 1))]);
    let (code, stdout, _) = run(&api, &["custody", "status"]);
    assert_eq!(
        (code, stdout.as_str()),
        (1, "State:    sealed\nSeal:     shamir\nShares:   2 of 3\nBrought:  1 of 2\n")
    );

    // One share is enough here: what is left of the input is not sent.
    let api = Api::start(&[("POST /v1/sys/unseal", 200, &status(false, 0))]);
    let mut command = mainstay(&api);
    command.env_remove("MAINSTAY_TOKEN").args(["custody", "unseal", "--data-dir", "/nowhere"]);
    let (code, stdout, stderr) = with_input(command, "c2hhcmUtMQ\n\n  c2hhcmUtMg\n");
    assert!(code == 0 && stdout.starts_with("State:   open\n"), "{stdout}{stderr}");
    assert_eq!(api.seen(), [r#"POST /v1/sys/unseal {"key":"c2hhcmUtMQ"}"#]);

    let init = r#"{"keys":["00"],"keys_base64":["QQ==","Qg=="],"root_token":"s.root"}"#;
    let api = Api::start(&[("POST /v1/sys/init", 200, init)]);
    let (code, stdout, _) = run(&api, &["custody", "init", "--shares", "2", "--threshold", "2"]);
    assert_eq!((code, stdout.as_str()), (0, "Share 1: QQ==\nShare 2: Qg==\nRoot token: s.root\n"));
    assert_eq!(api.seen(), [r#"POST /v1/sys/init {"secret_shares":2,"secret_threshold":2}"#]);
}

#[test]
fn a_rekeying_takes_shares_and_gives_new_ones() {
    let begun = r#"{"nonce":"n-1","started":true,"progress":0,"required":2,"t":2,"n":3}"#;
    let done = r#"{"nonce":"n-1","complete":true,"keys":["00"],"keys_base64":["QQ=="]}"#;
    let api = Api::start(&[("GET /v1/sys/rekey/init", 200, begun), ("POST /v1/sys/rekey/update", 200, done)]);
    let mut command = mainstay(&api);
    command.args(["custody", "rekey", "update"]);
    let (code, stdout, stderr) = with_input(command, "c2hhcmU\n");
    assert_eq!((code, stdout.as_str()), (0, "Share 1: QQ==\n"), "{stderr}");
    assert_eq!(api.seen().last().unwrap(), r#"POST /v1/sys/rekey/update {"key":"c2hhcmU","nonce":"n-1"}"#);
    let idle = Api::start(&[("GET /v1/sys/rekey/init", 200, r#"{"started":false}"#)]);
    let (code, _, stderr) = run(&idle, &["custody", "rekey", "update"]);
    assert!(code == 2 && stderr.contains("mainstay custody rekey init"), "{stderr}");
}

#[test]
fn leases_are_listed_through_their_folders_and_revoked() {
    let api = Api::start(&[
        ("GET /v1/sys/leases/lookup/database/creds/?list", 200, r#"{"data":{"keys":["b","a"]}}"#),
        ("GET /v1/sys/leases/lookup/database/?list", 200, r#"{"data":{"keys":["creds/"]}}"#),
        ("GET /v1/sys/leases/lookup/secret/?list", 404, r#"{"errors":[]}"#),
        ("GET /v1/sys/internal/ui/mounts", 200, r#"{"data":{"secret":{"database/":{},"secret/":{}}}}"#),
        (
            "GET /v1/sys/leases?type=irrevocable",
            200,
            r#"{"data":{"leases":[{"lease_id":"x","failures":7,"error":"down"}]}}"#,
        ),
        ("POST /v1/sys/leases/revoke", 204, ""),
    ]);
    assert_eq!(run(&api, &["custody", "leases"]), (0, "database/creds/a\ndatabase/creds/b\n".into(), String::new()));
    let (_, stdout, _) = run(&api, &["custody", "leases", "--unrevoked"]);
    assert_eq!(stdout, "LEASE  ATTEMPTS  REASON\nx      7         down\n");
    run(&api, &["custody", "revoke", "database/creds/a"]);
    assert_eq!(api.seen().last().unwrap(), r#"POST /v1/sys/leases/revoke {"lease_id":"database/creds/a","sync":true}"#);
    run(&api, &["custody", "revoke", "--prefix", "database/"]);
    assert_eq!(api.seen().last().unwrap(), r#"POST /v1/sys/leases/revoke-prefix/database {"sync":true}"#);
    assert_eq!(run(&api, &["custody", "revoke"]).0, 2);
}

#[test]
fn a_file_of_certificates_has_to_be_one() {
    let api = Api::start(&[]);
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    let (code, _, stderr) = run(&api, &["--ca-cert", path, "secret", "list"]);
    assert!(code == 1 && stderr.contains("it holds no certificate in PEM"), "{stderr}");
    assert!(!stderr.contains(TOKEN));
}
