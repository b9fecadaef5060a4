//! Figures of the whole layer, each as a ratio to what the engine alone does in the same run on the same machine.
//!
//! `cargo bench -p mainstay`; `-- --quick` takes fewer rounds. The real release binary is measured through its API.

#![allow(clippy::unwrap_used, reason = "a benchmark that fails stops")]

#[allow(dead_code, unused_imports, reason = "the tests use all of it")]
#[path = "../tests/it/harness/mod.rs"]
mod harness;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use harness::{Layer, Options, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use tokio::runtime::Runtime;

/// The newest PostgreSQL is what the layer takes, and what it is measured against.
fn bin(program: &str) -> String {
    let mut found: Vec<_> = std::fs::read_dir("/usr/lib/postgresql").unwrap().flatten().collect();
    found.sort_by_key(|entry| entry.file_name().to_string_lossy().parse::<u32>().unwrap_or(0));
    found.last().unwrap().path().join("bin").join(program).to_str().unwrap().to_owned()
}

/// How long an idle layer is watched.
const IDLE: Duration = Duration::from_secs(20);

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let (shared, dedicated) = if quick { (10, 3) } else { (60, 9) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    println!("{:<34} {:>10} {:>10} {:>7}   at most", "p50", "ours", "bare", "ratio");
    let mut layer = Layer::start(Options::default());
    layer.create("warm");
    shared_instances(&runtime, &layer, shared);
    dedicated_instances(&runtime, &layer, dedicated);
    restart(&runtime, &mut layer, if quick { 3 } else { 9 });
    idle(&layer);
}

/// Create, bind and the first connection, against the same by hand on the same server.
fn shared_instances(runtime: &Runtime, layer: &Layer, rounds: usize) {
    let socket = layer.data_dir().join("clusters/postgresql-shared/run");
    let admin = PgConnectOptions::new_without_pgpass().socket(socket).port(layer.postgresql_port());
    let admin = admin.username("mainstay").database("postgres").disable_statement_logging();
    let mut admin = runtime.block_on(admin.connect()).unwrap();
    let api = layer.api();
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let name = format!("bench-{round}");
        let started = Instant::now();
        let wanted = json!({ "name": name, "contract": "postgresql/v1" });
        let operation = api.post("/api/v1/instances?wait=60s", &wanted).expect(200);
        assert_eq!(operation["state"], "succeeded", "{operation}");
        let path = format!("/api/v1/instances/{name}/bindings");
        let binding = api.post(&path, &json!({ "consumer": "bench" })).expect(201);
        runtime.block_on(select_one(binding["credentials"]["uri"].as_str().unwrap()));
        ours.push(started.elapsed());

        let started = Instant::now();
        runtime.block_on(async {
            for statement in [
                format!("CREATE ROLE bare_{round} LOGIN PASSWORD 'secret'"),
                format!("CREATE DATABASE bare_{round} OWNER bare_{round}"),
            ] {
                sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut admin).await.unwrap();
            }
            let port = layer.postgresql_port();
            select_one(&format!("postgresql://bare_{round}:secret@127.0.0.1:{port}/bare_{round}")).await;
        });
        bare.push(started.elapsed());
    }
    row("shared: create, bind, connect", ours, bare, "1.5");
}

async fn select_one(uri: &str) {
    let mut connection = PgConnection::connect(uri).await.unwrap();
    sqlx::raw_sql("SELECT 1").execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// A cluster of its own, against `initdb` and the start of a server by hand.
fn dedicated_instances(runtime: &Runtime, layer: &Layer, rounds: usize) {
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let name = format!("dedicated-{round}");
        let started = Instant::now();
        let wanted = json!({ "name": name, "contract": "postgresql/v1", "plan": "dedicated" });
        let operation = layer.api().post("/api/v1/instances?wait=60s", &wanted).expect(200);
        assert_eq!(operation["state"], "succeeded", "{operation}");
        layer.bind(&name, "bench");
        ours.push(started.elapsed());
        let forced = layer.api().delete(&format!("/api/v1/instances/{name}?force=true&wait=60s")).expect(200);
        assert_eq!(forced["state"], "succeeded", "{forced}");

        let directory = tempfile::tempdir_in(layer.scratch()).unwrap();
        bare.push(bare_cluster(runtime, directory.path()));
    }
    row("dedicated: create, bind", ours, bare, "1.3");
}

fn bare_cluster(runtime: &Runtime, directory: &Path) -> Duration {
    run(Command::new("chown").arg("mainstay").arg(directory));
    let data = directory.join("data");
    let started = Instant::now();
    let initdb = ["--data-checksums", "--auth=scram-sha-256", "--auth-local=trust", "--username=mainstay", "-D"];
    run(as_engine().arg(bin("initdb")).args(initdb).arg(&data));
    let server = BareServer::start(runtime, &data, directory, 5432);
    let time = started.elapsed();
    server.stop(Signal::QUIT);
    time
}

/// A server that is started without anything of ours.
struct BareServer(Child);

impl BareServer {
    /// Returns once the server answers a query. It is asked every millisecond: `pg_ctl -w` looks only ten times a
    /// second, which would make the bare start look slower than it is.
    fn start(runtime: &Runtime, data: &Path, socket: &Path, port: u16) -> Self {
        let mut command = as_engine();
        command.arg(bin("postgres")).arg("-D").arg(data).args(["-p", &port.to_string()]);
        command.args(["-c", "listen_addresses="]).arg("-k").arg(socket);
        let server = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let options = PgConnectOptions::new_without_pgpass().socket(socket).port(port);
        let options = options.username("mainstay").database("postgres");
        until("the bare server answers", Duration::from_secs(30), || {
            runtime.block_on(async { options.connect().await.ok()?.close().await.ok() })
        });
        Self(server)
    }

    fn stop(mut self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
        self.0.wait().unwrap();
    }
}

fn as_engine() -> Command {
    // It becomes the program that it starts, so that its process is the server's.
    let mut command = Command::new("setpriv");
    command.args(["--reuid=mainstay", "--regid=mainstay", "--clear-groups", "--"]).current_dir("/");
    command
}

fn run(command: &mut Command) {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}

/// `down`, then the time until everything is ready again, beside the start of the same server by hand.
fn restart(runtime: &Runtime, layer: &mut Layer, rounds: usize) {
    let cluster = layer.data_dir().join("clusters/postgresql-shared");
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        layer.stop();
        let started = Instant::now();
        let server = BareServer::start(runtime, &cluster.join("data"), &cluster.join("run"), layer.postgresql_port());
        bare.push(started.elapsed());
        server.stop(Signal::INT);
        let started = Instant::now();
        layer.restart();
        ours.push(started.elapsed());
    }
    row("up on existing data", ours, bare, "bare + 1500 ms");
}

/// What a layer costs that nobody uses.
fn idle(layer: &Layer) {
    let ticks = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", layer.pid())).unwrap();
        let fields: Vec<u64> =
            stat.rsplit(')').next().unwrap().split_whitespace().skip(11).take(2).map(|f| f.parse().unwrap()).collect();
        fields[0] + fields[1]
    };
    let before = ticks();
    std::thread::sleep(IDLE);
    let share = (ticks() - before) as f64 / 100.0 / IDLE.as_secs_f64() * 100.0;
    let status = std::fs::read_to_string(format!("/proc/{}/status", layer.pid())).unwrap();
    let resident: f64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok())
        .unwrap();
    println!("{:<34} {:>6.1} MiB resident; at most 60 MiB", "idle control plane", resident / 1024.0);
    println!("{:<34} {share:>6.2} % of a core; at most 1 %", "");
}

fn row(what: &str, ours: Vec<Duration>, bare: Vec<Duration>, at_most: &str) {
    let (ours, bare) = (median(ours), median(bare));
    let ratio = ours.as_secs_f64() / bare.as_secs_f64();
    println!("{what:<34} {:>10} {:>10} {ratio:>7.2}   {at_most}", millis(ours), millis(bare));
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}
