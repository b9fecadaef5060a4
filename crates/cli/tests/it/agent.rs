use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::api::Api;
use crate::secret::{APP, KEPT};
use crate::{PASSWORD, mainstay, outcome, until};

const LOOKED: (&str, u16, &str) = ("GET /v1/auth/token/lookup-self", 200, r#"{"data":{"ttl":0,"policies":["app"]}}"#);

const TEMPLATE: &str = "PASSWORD={{ secret('secret/app').password }}\n";
const NEXT: &str = r#"{"data":{"data":{"password":"canary-next"},"metadata":{"version":4,"created_time":"T"}}}"#;

/// An agent in a directory with a template of its own.
fn agent(api: &Api, directory: &Path, template: &str, flags: &[&str]) -> Command {
    fs::write(directory.join("app.j2"), template).unwrap();
    let mut command = mainstay(api);
    command.current_dir(directory).args(["agent", "--template", "app.j2=app.env"]).args(flags);
    command
}

fn starts(command: &mut Command, directory: &Path) -> Child {
    let log = fs::File::create(directory.join("log")).unwrap();
    command.stdout(Stdio::null()).stderr(log).spawn().unwrap()
}

fn log(directory: &Path) -> String {
    fs::read_to_string(directory.join("log")).unwrap_or_default()
}

fn rendered(directory: &Path) -> String {
    fs::read_to_string(directory.join("app.env")).unwrap_or_default()
}

fn ends(mut child: Child, directory: &Path) -> String {
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let log = log(directory);
    assert!(log.contains("event=stopped") && !log.contains("canary"), "{log}");
    log
}

#[test]
fn once_renders_runs_its_command_and_ends() {
    let (api, directory) = (Api::start(&[KEPT, APP, LOOKED]), tempfile::tempdir().unwrap());
    let flags = ["--once", "--mode", "0640", "--exec", "echo ran ${MAINSTAY_TOKEN-without} >> ran"];
    let run = || outcome(agent(&api, directory.path(), TEMPLATE, &flags).output().unwrap());
    let (code, stdout, stderr) = run();
    assert!(code == 0 && stdout.is_empty() && stderr.contains("event=rendered file=app.env"), "{stderr}");
    assert_eq!(rendered(directory.path()), format!("PASSWORD={PASSWORD}\n"));
    let mode = fs::metadata(directory.path().join("app.env")).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o640);
    assert_eq!(run().0, 0);
    assert_eq!(
        fs::read_to_string(directory.path().join("ran")).unwrap(),
        "ran without\n",
        "once: nothing changed since"
    );

    let (code, _, stderr) =
        outcome(agent(&api, directory.path(), "{{ secret('secret/app').passwrd }}", &flags).output().unwrap());
    assert!(
        code == 1 && stderr.contains("template app.j2, line 1, failed: undefined value") && stderr.contains("passwrd"),
        "{stderr}"
    );
    assert_eq!(rendered(directory.path()), format!("PASSWORD={PASSWORD}\n"), "the last good file stays");

    let failing = ["--once", "--exec", "exit 7", "--mode", "0600"];
    let (code, _, stderr) = outcome(agent(&api, directory.path(), TEMPLATE, &failing).output().unwrap());
    assert!(code == 1 && stderr.contains("the command after the change failed: it exited with 7"), "{stderr}");
}

#[test]
fn a_change_is_rendered_and_an_outage_leaves_the_file() {
    let (api, directory) = (Api::start(&[KEPT, APP, LOOKED]), tempfile::tempdir().unwrap());
    let path = directory.path();
    let child = starts(&mut agent(&api, path, TEMPLATE, &["--interval", "1s", "--exec", "echo x >> ran"]), path);
    until(|| log(path).contains("event=command-done"), || log(path));
    assert!(log(path).contains("event=watching secret=secret/app"), "{}", log(path));

    api.answers(APP.0, 503, r#"{"errors":["Vault is sealed"]}"#);
    until(|| log(path).contains("Vault is sealed; the files stay as they were"), || log(path));
    assert_eq!(rendered(path), format!("PASSWORD={PASSWORD}\n"));

    api.answers(APP.0, 200, NEXT);
    until(|| log(path).contains("event=recovered") && rendered(path) == "PASSWORD=canary-next\n", || log(path));
    until(|| log(path).matches("event=command-done").count() == 2, || log(path));
    let log = ends(child, path);
    assert_eq!(log.matches("event=failing").count(), 1, "said once: {log}");
    assert_eq!(fs::read_to_string(path.join("ran")).unwrap(), "x\nx\n");
}

#[test]
fn a_role_logs_in_and_its_token_is_renewed_replaced_and_ended() {
    let login = r#"{"auth":{"client_token":"canary-role","lease_duration":1,"renewable":true}}"#;
    let api = Api::start(&[
        KEPT,
        APP,
        ("POST /v1/auth/approle/login", 200, login),
        ("POST /v1/auth/token/renew-self", 200, login),
        ("POST /v1/auth/token/revoke-self", 204, ""),
    ]);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    fs::write(path.join("role"), "role-1\n").unwrap();
    fs::write(path.join("secret"), "canary-secret-id\n").unwrap();
    let flags = ["--role-id-file", "role", "--secret-id-file", "secret"];
    let child = starts(agent(&api, path, TEMPLATE, &flags).env_remove("MAINSTAY_TOKEN"), path);
    let count = |what: &str| api.seen().iter().filter(|request| request.starts_with(what)).count();
    until(|| count("POST /v1/auth/token/renew-self") >= 2, || format!("{:?}", api.seen()));
    assert_eq!(count("POST /v1/auth/approle/login"), 1);
    api.answers("POST /v1/auth/token/renew-self", 403, r#"{"errors":["permission denied"]}"#);
    until(|| count("POST /v1/auth/approle/login") == 2, || log(path));
    ends(child, path);
    assert_eq!(api.seen().last().unwrap(), "POST /v1/auth/token/revoke-self {}");
    let asked = api.seen();
    assert!(
        asked
            .contains(&r#"POST /v1/auth/approle/login {"role_id":"role-1","secret_id":"canary-secret-id"}"#.to_owned())
    );
}

#[test]
fn a_lease_is_renewed_and_not_read_at_each_look() {
    let made = |name: &str, seconds| {
        format!(
            r#"{{"lease_id":"database/creds/app/{name}","lease_duration":{seconds},"renewable":true,"data":{{"username":"{name}"}}}}"#
        )
    };
    let api = Api::start(&[
        ("GET /v1/sys/internal", 200, r#"{"data":{"path":"database/","type":"database","options":null}}"#),
        ("GET /v1/database/creds/app", 200, &made("u1", 1)),
        ("POST /v1/sys/leases/renew", 200, &made("u1", 1)),
        LOOKED,
    ]);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let template = "{{ secret('database/creds/app').username }}";
    let child = starts(&mut agent(&api, path, template, &["--interval", "1s"]), path);
    let count = |what: &str| api.seen().iter().filter(|request| request.starts_with(what)).count();
    until(|| count("POST /v1/sys/leases/renew") >= 2, || log(path));
    assert_eq!((count("GET /v1/database/creds/app"), rendered(path).as_str()), (1, "u1"));
    api.answers("GET /v1/database/creds/app", 200, &made("u2", 60));
    api.answers("POST /v1/sys/leases/renew", 400, r#"{"errors":["lease not found"]}"#);
    until(|| rendered(path) == "u2", || log(path));
    ends(child, path);
}

#[test]
fn a_narrow_token_is_made_and_ended() {
    let child_token = r#"{"auth":{"client_token":"canary-child","lease_duration":3600,"renewable":true}}"#;
    let api = Api::start(&[
        KEPT,
        APP,
        ("POST /v1/auth/token/create", 200, child_token),
        ("POST /v1/auth/token/revoke-self", 204, ""),
    ]);
    let directory = tempfile::tempdir().unwrap();
    let (code, _, stderr) =
        outcome(agent(&api, directory.path(), TEMPLATE, &["--once", "--narrow", "app"]).output().unwrap());
    assert_eq!(code, 0, "{stderr}");
    assert!(!stderr.contains("canary-child"), "{stderr}");
    let seen = api.seen();
    assert_eq!(seen[0], r#"POST /v1/auth/token/create {"display_name":"agent","policies":["app"],"renewable":true}"#);
    assert_eq!(seen.last().unwrap(), "POST /v1/auth/token/revoke-self {}");
}

#[test]
fn what_cannot_be_done_is_refused_before_anything_is_asked() {
    let (api, directory) = (Api::start(&[]), tempfile::tempdir().unwrap());
    let path = directory.path();
    for (template, flags, said) in [
        ("{{ secret(", &[][..], "template app.j2, line 1, failed: syntax error"),
        ("", &["--template", "app.j2=app.env"], "app.env is the file of two templates"),
        ("", &["--template", "app.j2=/nowhere/at/all"], "its folder cannot be reached"),
        ("", &["--template", "missing.j2=x"], "template missing.j2 cannot be read"),
        ("", &["--narrow", "app", "--role-id-file", "x", "--secret-id-file", "y"], "cannot be used with"),
    ] {
        let (code, _, stderr) = outcome(agent(&api, path, template, flags).output().unwrap());
        assert!(code > 0 && stderr.contains(said), "{stderr}");
    }
    fs::create_dir(path.join("open")).unwrap();
    fs::set_permissions(path.join("open"), fs::Permissions::from_mode(0o777)).unwrap();
    let (code, _, stderr) = outcome(agent(&api, path, "", &["--template", "app.j2=open/x"]).output().unwrap());
    assert!(code == 2 && stderr.contains("everybody may replace files in"), "{stderr}");
    assert!(api.seen().is_empty());
}
