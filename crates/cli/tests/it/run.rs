use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::api::Api;
use crate::verbs::BOUND;
use crate::{PASSWORD, mainstay, outcome};

const ENDED: &str = r#"{"id":"op-1","kind":"delete-binding","state":"in progress"}"#;

fn api() -> Api {
    Api::start(&[
        ("POST /instances/shop/bindings", 201, BOUND),
        ("POST /bindings/b-000000000001/renew", 200, "{}"),
        ("DELETE /bindings/b-000000000001", 202, ENDED),
    ])
}

/// Runs a script with the binding and a runtime directory of its own.
fn command(api: &Api, runtime: &Path, flags: &[&str], script: &str) -> std::process::Command {
    let mut command = mainstay(api);
    command.env("XDG_RUNTIME_DIR", runtime);
    command.args(["run", "--bind", "shop"]).args(flags).args(["--", "sh", "-c", script]);
    command
}

fn nothing_is_left(api: &Api, runtime: &Path) {
    assert_eq!(fs::read_dir(runtime).unwrap().count(), 0);
    assert_eq!(api.seen().last().unwrap(), "DELETE /bindings/b-000000000001");
}

#[test]
fn a_command_has_its_credentials_while_it_runs() {
    let (api, runtime) = (api(), tempfile::tempdir().unwrap());
    let script = r#"echo "$SHOP_HOST:$SHOP_PORT $(cat $SERVICE_BINDING_ROOT/shop/type) ${MAINSTAY_TOKEN-none}"
        test "$(cat "$SERVICE_BINDING_ROOT/shop/password")" = "$SHOP_PASSWORD" && stat -c %a "$SERVICE_BINDING_ROOT"; exit 7"#;
    let (code, stdout, _) = outcome(command(&api, runtime.path(), &[], script).output().unwrap());
    assert_eq!((code, stdout.as_str()), (7, "127.0.0.1:7432 postgresql none\n700\n"));
    assert_eq!(api.seen()[0], r#"POST /instances/shop/bindings {"consumer":"sh","ttl":900}"#);
    nothing_is_left(&api, runtime.path());
}

#[test]
fn a_root_that_is_set_is_kept_and_only_added_to() {
    let (api, root) = (api(), tempfile::tempdir().unwrap());
    fs::write(root.path().join("other"), "x").unwrap();
    let mut command = command(&api, Path::new("/nowhere"), &[], "ls $SERVICE_BINDING_ROOT");
    let (code, stdout, _) = outcome(command.env("SERVICE_BINDING_ROOT", root.path()).output().unwrap());
    assert_eq!((code, stdout.as_str()), (0, "other\nshop\n"));
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);

    fs::create_dir(root.path().join("shop")).unwrap();
    let (code, _, stderr) = outcome(command.output().unwrap());
    assert!(code == 2 && stderr.contains("exists already"), "{stderr}");
    assert!(root.path().join("shop").exists());
    assert_eq!(api.seen().last().unwrap(), "DELETE /bindings/b-000000000001");
}

#[test]
fn what_cannot_be_run_leaves_nothing_behind() {
    let (api, runtime) = (api(), tempfile::tempdir().unwrap());
    for (program, expected) in [("/nowhere/at-all", 127), ("/etc/passwd", 126)] {
        let mut command = mainstay(&api);
        command.env("XDG_RUNTIME_DIR", runtime.path()).args(["run", "--bind", "shop", "--", program]);
        let (code, _, stderr) = outcome(command.output().unwrap());
        assert_eq!(code, expected, "{stderr}");
        assert!(stderr.contains(&format!("error: {program} cannot be run: ")), "{stderr}");
        nothing_is_left(&api, runtime.path());
    }
}

fn ready(child: &mut Child) -> BufReader<std::process::ChildStdout> {
    let mut output = BufReader::new(child.stdout.take().unwrap());
    assert_eq!(line(&mut output), "ready\n");
    output
}

fn line(output: &mut impl BufRead) -> String {
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    line
}

#[test]
fn a_signal_that_was_sent_is_sent_on_and_the_command_is_waited_for() {
    let (api, runtime) = (api(), tempfile::tempdir().unwrap());
    let script = r#"trap 'echo trapped; exit 9' TERM; echo ready; while :; do sleep 0.02; done"#;
    let mut child = command(&api, runtime.path(), &[], script).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = ready(&mut child);
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(line(&mut output), "trapped\n");
    assert_eq!(child.wait().unwrap().code(), Some(9));
    nothing_is_left(&api, runtime.path());
}

#[test]
fn a_command_that_a_signal_ends_has_the_exit_code_of_a_shell() {
    let (api, runtime) = (api(), tempfile::tempdir().unwrap());
    let (code, _, _) = outcome(command(&api, runtime.path(), &[], "kill -KILL $$").output().unwrap());
    assert_eq!(code, 137);
    nothing_is_left(&api, runtime.path());
}

#[test]
fn leases_are_renewed_at_half_their_time() {
    let (api, runtime) = (api(), tempfile::tempdir().unwrap());
    let mut child = command(&api, runtime.path(), &["--ttl", "1s"], "echo ready; read -r _")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let _output = ready(&mut child);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let renewals = || api.seen().iter().filter(|request| request.contains("/renew")).count();
    while renewals() < 2 {
        assert!(std::time::Instant::now() < deadline, "{:?}", api.seen());
        std::thread::yield_now();
    }
    assert!(api.seen().contains(&r#"POST /bindings/b-000000000001/renew {"ttl":1}"#.to_owned()));
    drop(child.stdin.take());
    child.wait().unwrap();
    nothing_is_left(&api, runtime.path());
}

/// A process listing shows arguments to everybody.
#[test]
fn no_argument_of_any_process_holds_a_secret() {
    let (api, runtime) = (api(), tempfile::tempdir().unwrap());
    let mut command = command(&api, runtime.path(), &[], "echo ready; read -r _");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0).spawn().unwrap();
    let _output = ready(&mut child);
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let arguments = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let arguments = String::from_utf8_lossy(&arguments);
        assert!(!arguments.contains(PASSWORD), "{arguments}");
    }
    kill_process_group(Pid::from_child(&child), Signal::TERM).unwrap();
    child.wait().unwrap();
    nothing_is_left(&api, runtime.path());
}
