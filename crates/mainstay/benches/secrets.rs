//! Figures of secret custody, each beside those of the same server's empty authenticated route in the same run.
//!
//! `cargo bench -p mainstay --bench secrets`; `-- --quick` takes fewer rounds and fewer secrets. The real release binary is
//! loaded through its API by `wrk`, which shares the machine with it: hence the processor time of each request, too.

#![allow(clippy::unwrap_used, reason = "a benchmark that fails stops")]

#[allow(dead_code, unused_imports, reason = "the tests use all of it")]
#[path = "../tests/it/harness/mod.rs"]
mod harness;

use std::fs::OpenOptions;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use harness::{Layer, Options, until};
use serde_json::json;

const CONNECTIONS: u32 = 32;

/// How many secrets the routes are measured with.
const FEW: u64 = 1000;

/// Ticks of `/proc/PID/stat` in a second, on every architecture that Linux has today.
const TICKS: f64 = 100.0;

/// For how long `perf` counts instructions.
const PERF_SECONDS: &str = "2";

/// One kind of requests; the script is what `wrk` is told in Lua.
struct Route {
    name: &'static str,
    goal: &'static str,
    token: String,
    script: String,
}

/// What `wrk` and the kernel said of one run.
struct Load {
    requests: u64,
    rate: f64,
    /// Microseconds of processor time of the server for each request.
    cpu: f64,
    p50: Duration,
    p99: Duration,
}

fn main() {
    if Command::new("wrk").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
        println!("secrets: skipped, since wrk is missing: run scripts/setup bench, or apt-get install wrk");
        return;
    }
    let quick = std::env::args().any(|argument| argument == "--quick");
    let (rounds, seconds, many) = if quick { (3, 2, 100_000) } else { (5, 4, 1_000_000) };
    let mut layer = Layer::start(Options::default());
    let (reader, admin) = prepare(&layer);
    fill(&layer, &admin, 0, FEW);
    routes(&layer, rounds, seconds, &reader, &admin);
    growth(&mut layer, &reader, &admin, many, seconds);
}

/// Makes a policy, a token that has it, and a key to encrypt with. Answers that token and the first admin's.
fn prepare(layer: &Layer) -> (String, String) {
    let api = layer.api();
    let policy = r#"
        path "secret/data/app/*" { capabilities = ["create", "read", "update"] }
        path "transit/encrypt/bench" { capabilities = ["update"] }
    "#;
    api.post("/v1/sys/policies/acl/bench", &json!({ "policy": policy })).expect(204);
    api.post("/v1/sys/mounts/transit", &json!({ "type": "transit" })).expect(204);
    assert!(api.post("/v1/transit/keys/bench", &json!({})).status < 300);
    let made = api.post("/v1/auth/token/create", &json!({ "policies": ["bench"] })).expect(200);
    let admin = std::fs::read_to_string(layer.data_dir().join("admin.token")).unwrap();
    (made["auth"]["client_token"].as_str().unwrap().to_owned(), admin.trim().to_owned())
}

/// Every route in turns, so that what else the machine does meets all of them.
fn routes(layer: &Layer, rounds: usize, seconds: u32, reader: &str, admin: &str) {
    let get = |path: &str| format!("request = function() return wrk.format('GET', '{path}') end");
    let block = json!({ "plaintext": "QUJD".repeat(1024 / 3) + "QQ==" });
    let encrypt =
        format!("request = function() return wrk.format('POST', '/v1/transit/encrypt/bench', nil, '{block}') end");
    let route = |name, goal, token: &str, script| Route { name, goal, token: token.to_owned(), script };
    let routes = [
        route("empty authenticated route", "", admin, get("/api/v1/instances")),
        route("KV v2 read", "0.40", reader, read(FEW)),
        route("token lookup-self", "", reader, get("/v1/auth/token/lookup-self")),
        route("transit encrypt, 1 KiB", "", reader, encrypt),
        route("KV v2 write, durable", "", reader, write(0, FEW)),
    ];
    let mut loads: Vec<Vec<Load>> = routes.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for (route, loads) in routes.iter().zip(&mut loads) {
            loads.push(load(layer, &route.token, &route.script, CONNECTIONS, seconds));
            empty_audit_log(layer);
        }
    }
    println!(
        "{:<28} {:>10} {:>7} {:>9} {:>11} {:>14}   at least",
        "32 connections, p50 of runs", "requests/s", "ratio", "CPU µs", "/s and core", "instructions"
    );
    for (index, route) in routes.iter().enumerate() {
        let of = |value: fn(&Load) -> f64| median(loads[index].iter().map(value).collect());
        let ratio = median(loads[index].iter().zip(&loads[0]).map(|(ours, empty)| ours.rate / empty.rate).collect());
        let (rate, cpu) = (of(|load| load.rate), of(|load| load.cpu));
        let instructions = instructions(layer, route);
        let instructions = instructions.map_or("not counted".to_owned(), |count| format!("{count:.0}"));
        let goal = route.goal;
        println!(
            "{:<28} {rate:>10.0} {ratio:>7.2} {cpu:>9.1} {:>11.0} {instructions:>14}   {goal}",
            route.name,
            1e6 / cpu
        );
    }
}

/// The start and the reads with a few secrets and with many.
fn growth(layer: &mut Layer, reader: &str, admin: &str, many: u64, seconds: u32) {
    println!("\n{:<28} {:>10} {:>10} {:>10} {:>10} {:>10}", "secrets", "start", "p50", "p99", "requests/s", "CPU µs");
    for (before, secrets) in [(0, FEW), (FEW, many)] {
        let started = Instant::now();
        fill(layer, admin, before, secrets);
        let filled = started.elapsed();
        layer.stop();
        let started = Instant::now();
        layer.restart_in_trouble();
        until("custody is unsealed", Duration::from_secs(60), || {
            (layer.api().get("/v1/sys/health").status == 200).then_some(())
        });
        let start = started.elapsed();
        until("the layer is ready", Duration::from_secs(60), || layer.is_ready().then_some(()));
        // One connection waits for nobody: what it measures is the time of a request, and not how many there are.
        let alone = load(layer, reader, &read(secrets), 1, seconds);
        let all = load(layer, reader, &read(secrets), CONNECTIONS, seconds);
        empty_audit_log(layer);
        println!(
            "{secrets:<28} {:>10} {:>10} {:>10} {:>10.0} {:>10.1}   filled in {:.0} s",
            millis(start),
            micros(alone.p50),
            micros(alone.p99),
            all.rate,
            all.cpu,
            filled.as_secs_f64()
        );
    }
    println!("at most: start 2 s; p50 and p99 the same");
}

/// Random secrets of the first so many.
fn read(secrets: u64) -> String {
    format!("request = function() return wrk.format('GET', '/v1/secret/data/app/' .. math.random({secrets})) end")
}

/// One secret after the other, from the one after `first` on, and the first again after `count`.
fn write(first: u64, count: u64) -> String {
    let body = json!({ "data": {
        "username": "app",
        "password": "0123456789abcdefghijklmnopqrstuv",
        "url": "postgresql://db.internal:5432/app",
    } });
    // `wrk` asks for one request before it begins, and does not send it.
    format!(
        "local n = {first} - 1
        request = function()
            n = (n + 1) % {}
            return wrk.format('POST', '/v1/secret/data/app/' .. n, nil, '{body}')
        end",
        count + 1
    )
}

/// Writes secrets until there are so many.
fn fill(layer: &Layer, token: &str, before: u64, secrets: u64) {
    const ROUND_SECONDS: u32 = 5;
    // What was under way when a round ended is not known to be there: the next one goes back by some seconds' writes.
    let again = secrets / 64;
    let mut next = before;
    while next < secrets + again {
        let first = next.saturating_sub(again);
        let script = write(first, secrets + again);
        next = first + load(layer, token, &script, 4 * CONNECTIONS, ROUND_SECONDS).requests;
        empty_audit_log(layer);
    }
}

/// Loads the server for a while, and answers what came of it.
fn load(layer: &Layer, token: &str, script: &str, connections: u32, seconds: u32) -> Load {
    let before = processor_time(layer);
    let output = wrk(layer, token, script, connections, seconds).stderr(Stdio::inherit()).output().unwrap();
    let used = processor_time(layer) - before;
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains("Non-2xx"), "{text}");
    let line = |start: &str| text.lines().find_map(|line| line.trim().strip_prefix(start)).unwrap().trim();
    let requests: u64 = text.lines().find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok()).unwrap();
    Load {
        requests,
        rate: line("Requests/sec:").parse().unwrap(),
        cpu: used * 1e6 / requests as f64,
        p50: duration(line("50%")),
        p99: duration(line("99%")),
    }
}

fn wrk(layer: &Layer, token: &str, script: &str, connections: u32, seconds: u32) -> Command {
    let file = layer.scratch().join("wrk.lua");
    std::fs::write(&file, script).unwrap();
    let mut command = Command::new("wrk");
    command.args(["--threads", "1", "--latency", "--connections", &connections.to_string()]);
    command.args(["--duration", &format!("{seconds}s"), "--timeout", "10s", "--script"]).arg(file);
    command.args(["--header", &format!("Authorization: Bearer {token}")]).arg(layer.address());
    command
}

/// Instructions that the server takes for a request, where the machine counts them.
fn instructions(layer: &Layer, route: &Route) -> Option<f64> {
    let pid = layer.pid().to_string();
    let counter = Command::new("perf")
        .args(["stat", "-x", ",", "-e", "instructions", "-p", &pid, "--", "sleep", PERF_SECONDS])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    let seconds = PERF_SECONDS.parse().unwrap();
    let requests = load(layer, &route.token, &route.script, CONNECTIONS, seconds).requests;
    let told = String::from_utf8(counter.wait_with_output().ok()?.stderr).ok()?;
    let counted: f64 = told.lines().find(|line| line.contains("instructions"))?.split(',').next()?.parse().ok()?;
    Some(counted / requests as f64)
}

/// Seconds of processor time that the server has taken.
fn processor_time(layer: &Layer) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", layer.pid())).unwrap();
    let fields = stat.rsplit(')').next().unwrap().split_whitespace().skip(11).take(2);
    fields.map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / TICKS
}

/// Millions of requests leave gigabytes of audit log, which nobody reads here. The server appends to what is left.
fn empty_audit_log(layer: &Layer) {
    let file = OpenOptions::new().write(true).open(layer.data_dir().join("custody/audit.log")).unwrap();
    file.set_len(0).unwrap();
}

/// A time as `wrk` writes it: `950.00us`, `1.20ms`, `1.05s`.
fn duration(text: &str) -> Duration {
    let (number, unit) = text.split_at(text.find(|letter: char| letter.is_ascii_alphabetic()).unwrap());
    let seconds = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        _ => 1.0,
    };
    Duration::from_secs_f64(number.parse::<f64>().unwrap() * seconds)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn millis(time: Duration) -> String {
    format!("{:.0} ms", time.as_secs_f64() * 1e3)
}

fn micros(time: Duration) -> String {
    format!("{:.0} µs", time.as_secs_f64() * 1e6)
}
