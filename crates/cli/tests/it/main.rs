//! Whole verbs, as a process, against an API that the test plays.

#![allow(clippy::unwrap_used, reason = "a test's helpers may fail as the test itself does")]

mod agent;
mod api;
mod drills;
mod manifest;
mod run;
mod secret;
mod verbs;

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use api::Api;

/// What the API is said to have, and what of it must never be where it does not belong.
const PASSWORD: &str = "canary-password";
const TOKEN: &str = "canary-token";

/// The program, which speaks to an API and inherits nothing that a developer's shell may have set.
fn mainstay(api: &Api) -> Command {
    let mut command = Command::new(program());
    for variable in
        ["MAINSTAY_TENANT", "MAINSTAY_CACERT", "MAINSTAY_DATA_DIR", "SERVICE_BINDING_ROOT", "HTTP_PROXY", "http_proxy"]
    {
        command.env_remove(variable);
    }
    command.env("MAINSTAY_ADDR", api.address()).env("MAINSTAY_TOKEN", TOKEN).env("NO_COLOR", "1");
    command
}

/// Cargo puts the examples beside the directory of the test's own binary.
fn program() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.parent().unwrap().parent().unwrap().join("examples/verbs")
}

/// What came of it: exit code, standard output, standard error.
fn outcome(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert!(!stdout.contains(TOKEN) && !stderr.contains(TOKEN) && !stderr.contains(PASSWORD), "{stdout}{stderr}");
    (output.status.code().unwrap(), stdout, stderr)
}

fn run(api: &Api, arguments: &[&str]) -> (i32, String, String) {
    outcome(mainstay(api).args(arguments).output().unwrap())
}

/// Waits until something is so; says what it was instead where it does not become so.
fn until(mut so: impl FnMut() -> bool, instead: impl Fn() -> String) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !so() {
        assert!(Instant::now() < deadline, "{}", instead());
        std::thread::yield_now();
    }
}
