//! `mainstay run`: credentials that live exactly as long as a command; and `mainstay events --follow`.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use serde_json::Value;

use crate::harness::{Layer, Options, until};

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn what_a_command_gets_is_gone_after_it() {
    let layer = Layer::shared();
    layer.create("run-one");
    layer.create("run-two");
    let script = r#"
        psql -XAtc "SELECT 1" "$RUN_ONE_URI" && psql -XAtc "SELECT 2" "$(cat "$SERVICE_BINDING_ROOT/run-two/uri")" || exit 9
        echo "${MAINSTAY_TOKEN-none}"; echo "$SERVICE_BINDING_ROOT"; echo "$RUN_ONE_URI"; exit 42"#;
    let mut run = layer.command();
    run.args(["run", "--bind", "run-one", "--bind", "run-two", "--consumer", "gone", "--", "sh", "-c", script]);
    let run = run.env("MAINSTAY_TOKEN", admin_token(layer)).output().unwrap();
    assert_eq!(run.status.code(), Some(42), "{run:?}");
    let printed = String::from_utf8(run.stdout).unwrap();
    let [one, two, token, root, uri] = printed.lines().collect::<Vec<_>>()[..] else { panic!("{printed}") };
    assert_eq!((one, two, token), ("1", "2", "none"));
    assert!(!std::path::Path::new(root).exists(), "{root}");
    for instance in ["run-one", "run-two"] {
        gone(layer, instance, "gone");
    }
    until("the credentials are refused", PATIENCE, || layer.try_psql(uri, "SELECT 1").err());
}

#[test]
fn exit_codes_are_the_commands_own() {
    let layer = Layer::shared();
    layer.create("run-codes");
    let run =
        |command: &[&str]| layer.cli(&[&["run", "--bind", "run-codes", "--consumer", "codes", "--"], command].concat());
    assert_eq!(run(&["true"]).code, 0);
    assert_eq!(run(&["sh", "-c", "kill -KILL $$"]).code, 137);
    assert!(run(&["no-such-program"]).fail(127).contains("no-such-program"));
    assert!(run(&["/etc/passwd"]).fail(126).contains("/etc/passwd"));
    assert!(layer.cli(&["run", "--bind", "nobody", "--", "true"]).fail(1).contains("no instance is called nobody"));
    layer.cli(&["run", "--", "true"]).fail(2);
    layer.cli(&["run", "--bind", "run-codes"]).fail(2);
    gone(layer, "run-codes", "codes");
}

#[test]
fn signals_reach_the_command_and_it_is_cleaned_up_after() {
    let layer = Layer::shared();
    layer.create("run-signals");
    let root = layer.scratch().join("service-bindings");
    std::fs::create_dir_all(root.join("somebody-elses")).unwrap();
    let script = "trap 'echo told; exit 7' TERM; echo waiting; while :; do sleep 0.05; done";
    let mut run = layer.command();
    run.args(["run", "--bind", "run-signals", "--", "sh", "-c", script]).env("SERVICE_BINDING_ROOT", &root);
    let mut run = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut printed = BufReader::new(run.stdout.take().unwrap());
    let mut line = String::new();
    printed.read_line(&mut line).unwrap();
    assert_eq!(line, "waiting\n");
    assert!(root.join("run-signals/uri").exists());
    rustix::process::kill_process(Pid::from_child(&run), Signal::TERM).unwrap();
    let mut rest = String::new();
    printed.read_to_string(&mut rest).unwrap();
    assert_eq!((rest.as_str(), run.wait().unwrap().code()), ("told\n", Some(7)));
    assert!(
        root.join("somebody-elses").exists() && !root.join("run-signals").exists(),
        "only its own files are removed"
    );
    gone(layer, "run-signals", "sh");
}

#[test]
fn a_lease_is_renewed_while_the_command_runs_and_ends_when_nobody_renews_it() {
    let layer = Layer::shared();
    layer.create("run-lease");
    let script = "read -r _; psql -XAtc 'SELECT 1' \"$RUN_LEASE_URI\"; echo done; exec sleep 600";
    let mut run = layer.command();
    run.args(["run", "--bind", "run-lease", "--consumer", "lease", "--ttl", "2s", "--", "sh", "-c", script]);
    let mut run = run.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0).spawn().unwrap();
    let binding = until("it is bound", PATIENCE, || binding_of(layer, "run-lease", "lease"));
    until("it was renewed past its first lease", PATIENCE, || {
        let renewed = layer.events_of("v1.binding.renewed");
        (renewed.iter().filter(|event| event["subject"]["id"] == binding["id"]).count() >= 3).then_some(())
    });
    drop(run.stdin.take());
    let mut printed = BufReader::new(run.stdout.take().unwrap()).lines();
    assert_eq!([printed.next().unwrap().unwrap(), printed.next().unwrap().unwrap()], ["1", "done"]);

    // Killed without a chance to clean up, it leaves a lease that ends by itself.
    rustix::process::kill_process_group(Pid::from_child(&run), Signal::KILL).unwrap();
    assert_eq!(run.wait().unwrap().signal(), Some(9));
    gone(layer, "run-lease", "lease");
    assert!(layer.events_of("v1.binding.expired").iter().any(|event| event["subject"]["id"] == binding["id"]));
}

#[test]
fn events_are_followed_across_a_restart_and_none_is_missed() {
    let mut layer = Layer::start(Options::default());
    layer.create("before");
    let first = layer.events().len() as u64;
    let follower = Follower::start(&layer, &["--after", "2"]);
    let mut seen = follower.until_sequence(first);

    let asked = Instant::now();
    layer.create("meanwhile");
    seen.extend(follower.until_event("v1.instance.ready", "meanwhile"));
    println!("an event is seen {:?} after its command was sent", asked.elapsed());

    layer.kill();
    layer.restart();
    layer.create("afterwards");
    seen.extend(follower.until_event("v1.instance.ready", "afterwards"));
    let last = seen.last().unwrap()["sequence"].as_u64().unwrap();
    let sequences: Vec<u64> = seen.iter().map(|event| event["sequence"].as_u64().unwrap()).collect();
    assert_eq!(sequences, (3..=last).collect::<Vec<_>>(), "each once, in order, none missing");
    for field in ["time", "tenant", "actor", "type", "subject", "payload", "payload_digest", "previous"] {
        assert!(seen[0].get(field).is_some(), "{field} of {}", seen[0]);
    }

    let told = layer.cli(&["events", "--after", &(last - 1).to_string(), "-o", "json"]).json();
    assert_eq!(told["items"][0]["sequence"], last);
    assert!(layer.cli(&["events"]).succeed().contains("v1.instance.ready"));
}

/// A running `mainstay events --follow`.
struct Follower {
    process: Child,
    events: Receiver<Value>,
}

impl Follower {
    fn start(layer: &Layer, arguments: &[&str]) -> Self {
        let mut command = layer.command();
        command.args(["events", "--follow", "-o", "json"]).args(arguments).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let (sender, events) = channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _ = sender.send(serde_json::from_str(&line).unwrap());
            }
        });
        Self { process, events }
    }

    /// Everything up to the event that is waited for.
    fn until_that(&self, what: &str, is_it: impl Fn(&Value) -> bool) -> Vec<Value> {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        loop {
            match self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(event) => seen.push(event),
                Err(RecvTimeoutError::Timeout) => panic!("{what} did not come after {seen:#?}"),
                Err(RecvTimeoutError::Disconnected) => panic!("the follower ended after {seen:#?}"),
            }
            if is_it(seen.last().unwrap()) {
                return seen;
            }
        }
    }

    fn until_event(&self, kind: &str, subject: &str) -> Vec<Value> {
        self.until_that(kind, |event| event["type"] == kind && event["subject"]["id"] == subject)
    }

    fn until_sequence(&self, sequence: u64) -> Vec<Value> {
        self.until_that("the newest event", |event| event["sequence"] == sequence)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn admin_token(layer: &Layer) -> String {
    std::fs::read_to_string(layer.data_dir().join("admin.token")).unwrap().trim().to_owned()
}

fn binding_of(layer: &Layer, instance: &str, consumer: &str) -> Option<Value> {
    let bindings = layer.api().all(&format!("/api/v1/instances/{instance}/bindings"));
    bindings.into_iter().find(|binding| binding["consumer"] == consumer)
}

/// The bindings of a command that has ended do so too.
#[track_caller]
fn gone(layer: &Layer, instance: &str, consumer: &str) {
    until("its binding is gone", PATIENCE, || binding_of(layer, instance, consumer).is_none().then_some(()));
}
