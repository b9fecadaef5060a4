//! Figures of backup and recovery, each held against pgBackRest on the same database in the same run.
//!
//! `cargo bench -p mainstay --bench recovery`; `-- --quick` takes a tenth of the database. The real release binary is measured
//! through its API; pgBackRest reads the same cluster, with two processes and the same family of compression (Zstandard). Room is
//! compared twice: of the backups alone, and with the log of the whole time, which is given to pgBackRest's archive too.

#![allow(clippy::unwrap_used, reason = "a benchmark that fails stops")]

#[allow(dead_code, unused_imports, reason = "the tests use all of it")]
#[path = "../tests/it/harness/mod.rs"]
mod harness;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use harness::{Layer, Options, kill_process, until, uri_of};

const PATIENCE: Duration = Duration::from_secs(1_800);
/// pgbench's scale for about 2 GB: each unit is 100,000 rows, of which a page holds 55 with room for changes in place.
const SCALE: u32 = 130;
/// Backups of the same database, one of each day.
const DAYS: u32 = 10;
/// One page in so many changes from one day to the next: 2 %.
const PAGES_PER_CHANGE: u32 = 50;
const CLUSTER: &str = "postgresql-shared";
const STANZA: &str = "bench";
/// The slot that the log is received from which pgBackRest's archive is given.
const SLOT: &str = "bench";

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let scale = if quick { SCALE / 10 } else { SCALE };
    let layer = Layer::start(Options { repository: true, ..Options::default() });
    layer.create("shop");
    let uri = uri_of(&layer.bind("shop", "bench"));
    let mut received = Received::begin(&layer);
    run(Command::new("pgbench").args(["-i", "-q", "-F", "90", "-s", &scale.to_string(), &uri]));
    layer.psql(&uri, "VACUUM ANALYZE");
    layer.psql(&layer.superuser(CLUSTER, layer.postgresql_port()), "CHECKPOINT");
    let data = layer.data_dir().join("clusters").join(CLUSTER).join("data");
    let size = bytes_of(&data.join("base"));
    let peer = Peer::new(&layer, &data);
    println!("a database of {:.2} GB; {} of memory before\n", size as f64 / 1e9, memory(&layer));
    println!("{:<46} {:>12} {:>12} {:>7}   goal", "", "ours", "pgBackRest", "ratio");
    let speed = |took: Duration| size as f64 / 1e6 / took.as_secs_f64();

    let mut backups = 0;
    let mut backed_up = || {
        let before = bytes_of(&layer.repository());
        let took = backed_up(&layer);
        backups += bytes_of(&layer.repository()).saturating_sub(before);
        took
    };
    let (ours, theirs) = (backed_up(), peer.map(|peer| peer.back_up("full")));
    row("first backup, MB/s", speed(ours), theirs.map(speed), "at least 1.0");
    let again = (backed_up(), peer.map(|peer| peer.back_up("incr")));
    row("backup without any change, s", again.0.as_secs_f64(), again.1.map(|took| took.as_secs_f64()), "");

    let mut took = (Duration::ZERO, Duration::ZERO);
    for day in 1..DAYS {
        let change = format!(
            "UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid % 55 = 0 AND (aid / 55) % {PAGES_PER_CHANGE} = {day}"
        );
        layer.psql(&uri, &change);
        took.0 += backed_up();
        took.1 += peer.map_or(Duration::ZERO, |peer| peer.back_up("incr"));
    }
    let days = f64::from(DAYS - 1);
    let mean = |took: Duration| took.as_secs_f64() / days;
    row("backup with 2 % of the pages changed, s", mean(took.0), peer.map(|_| mean(took.1)), "");
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    let theirs = peer.map(|peer| bytes_of(peer.repository));
    row("ten days, backups alone, MB", megabytes(backups), theirs.map(megabytes), "at most 0.5");
    let all = bytes_of(&layer.repository());
    let theirs = peer.map(|peer| peer.archive(&received.end()));
    row("ten days with the log of all the time, MB", megabytes(all), theirs.map(megabytes), "at most 0.5");

    println!("\ncommit to stored: {}", delay(&layer, &uri));
    let drilled = layer.cli(&["drill", "shop"]);
    assert_eq!(drilled.code, 0, "{drilled:?}");
    let instance = layer.api().get("/api/v1/instances/shop").expect(200);
    println!(
        "drill: the first answer after {} s, {} s of changes were missing",
        instance["recovery"]["rto_seconds"], instance["recovery"]["rpo_seconds"]
    );

    let theirs = peer.map(Peer::restore);
    kill_process(layer.postmaster(CLUSTER));
    std::fs::remove_dir_all(&data).ok();
    until("the cluster has failed", PATIENCE, || {
        (layer.api().get("/api/v1/instances/shop").expect(200)["state"] == "failed").then_some(())
    });
    let started = Instant::now();
    let restored = layer.cli(&["restore", "shop", "--yes"]);
    assert_eq!(restored.code, 0, "{restored:?}");
    row(
        "restore, until it serves (theirs: files only), MB/s",
        speed(started.elapsed()),
        theirs.map(speed),
        "at least 1.0",
    );
    println!("\n{} of memory afterwards (goal: under 256 MiB)", memory(&layer));
}

/// Asks for a backup and waits for it; answers how long it took.
fn backed_up(layer: &Layer) -> Duration {
    let started = Instant::now();
    let backup = layer.cli(&["backup", "shop"]);
    assert_eq!(backup.code, 0, "{backup:?}");
    started.elapsed()
}

/// How long it takes from a commit until it can be had back, as the API says.
fn delay(layer: &Layer, uri: &str) -> String {
    layer.psql(uri, "CREATE TABLE moments (at timestamptz)");
    let mut delays: Vec<Duration> = Vec::new();
    for _ in 0..50 {
        let moment = layer.psql(
            uri,
            r#"INSERT INTO moments VALUES (clock_timestamp()) RETURNING to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"#,
        );
        let started = Instant::now();
        until("it is stored", PATIENCE, || {
            let recovery = layer.api().get("/api/v1/instances/shop").expect(200)["recovery"].clone();
            (recovery["latest_recovery_point"].as_str()? >= moment.as_str()).then_some(())
        });
        delays.push(started.elapsed());
    }
    delays.sort();
    let at = |share: usize| delays[(delays.len() - 1) * share / 100];
    format!("p50 {:?}, p99 {:?} (goal: p99 under 1 s)", at(50), at(99))
}

/// The log of the layer's cluster, received once more.
struct Received {
    receiver: Child,
    folder: PathBuf,
}

impl Received {
    fn begin(layer: &Layer) -> Self {
        let folder = layer.scratch().join("log");
        std::fs::create_dir(&folder).unwrap();
        let socket = layer.data_dir().join("clusters").join(CLUSTER).join("run");
        let command = || {
            let mut command = Command::new("pg_receivewal");
            command.args(["--no-loop", "--slot", SLOT, "--username", "mainstay"]);
            command.arg("--host").arg(&socket).args(["--port", &layer.postgresql_port().to_string()]);
            command
        };
        run(command().arg("--create-slot"));
        let receiver = command().arg("--directory").arg(&folder).spawn().unwrap();
        Self { receiver, folder }
    }

    /// The folder that its segments lie in. No more come.
    fn end(&mut self) -> PathBuf {
        self.receiver.kill().unwrap();
        self.receiver.wait().unwrap();
        self.folder.clone()
    }
}

/// pgBackRest with a repository of its own on the layer's cluster.
#[derive(Clone, Copy)]
struct Peer {
    repository: &'static Path,
    configuration: &'static Path,
    scratch: &'static Path,
}

impl Peer {
    /// None where it is not installed, which is said.
    fn new(layer: &Layer, data: &Path) -> Option<Self> {
        if Command::new("pgbackrest").arg("version").stdout(Stdio::null()).status().is_err() {
            println!("SKIPPED: pgbackrest is not installed; scripts/setup bench does");
            return None;
        }
        let root = layer.scratch().join("pgbackrest");
        let scratch: &Path = leak(root.clone());
        let repository: &Path = leak(root.join("repository"));
        let configuration: &Path = leak(root.join("pgbackrest.conf"));
        std::fs::create_dir_all(repository).unwrap();
        let socket = layer.data_dir().join("clusters").join(CLUSTER).join("run");
        let text = format!(
            "[global]\nrepo1-path={}\nlog-path={}\nlock-path={}\nspool-path={}\nprocess-max=2\ncompress-type=zst\nstart-fast=y\n\
             archive-check=n\nlog-level-console=warn\n[{STANZA}]\npg1-path={}\npg1-socket-path={}\npg1-port={}\npg1-user=mainstay\n\
             pg1-database=postgres\n",
            repository.display(),
            root.display(),
            root.display(),
            root.display(),
            data.display(),
            socket.display(),
            layer.postgresql_port(),
        );
        std::fs::write(configuration, text).unwrap();
        let peer = Self { repository, configuration, scratch };
        run(&mut peer.command(&["stanza-create", "--no-online"]));
        Some(peer)
    }

    fn command(self, arguments: &[&str]) -> Command {
        let mut command = Command::new("pgbackrest");
        command
            .arg(format!("--config={}", self.configuration.display()))
            .arg(format!("--stanza={STANZA}"))
            .args(arguments);
        command
    }

    /// Takes the segments of the log into its archive, and answers what all takes then.
    fn archive(self, log: &Path) -> u64 {
        let entries = std::fs::read_dir(log).unwrap().map(|entry| entry.unwrap().path());
        let mut segments: Vec<PathBuf> = entries.filter(|path| path.extension().is_none()).collect();
        segments.sort();
        for segment in segments {
            run(&mut self.command(&["archive-push", segment.to_str().unwrap()]));
        }
        bytes_of(self.repository)
    }

    fn back_up(self, kind: &str) -> Duration {
        let started = Instant::now();
        run(&mut self.command(&["backup", &format!("--type={kind}")]));
        started.elapsed()
    }

    /// Brings the files back, elsewhere.
    fn restore(self) -> Duration {
        let place = self.scratch.join("restored");
        std::fs::create_dir(&place).unwrap();
        let started = Instant::now();
        run(&mut self.command(&["restore", "--type=none", &format!("--pg1-path={}", place.display())]));
        started.elapsed()
    }
}

/// The benchmark ends with the process, and what it names so with it.
fn leak(path: PathBuf) -> &'static Path {
    Box::leak(path.into_boxed_path())
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let said = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {said:?}");
}

/// What the files of a folder take together.
fn bytes_of(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => bytes_of(&entry.path()),
            Ok(found) => found.len(),
            // Gone meanwhile.
            Err(_) => 0,
        })
        .sum()
}

/// The most memory that the layer's process ever had.
fn memory(layer: &Layer) -> String {
    let status = std::fs::read_to_string(format!("/proc/{}/status", layer.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    format!("{} MiB", line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024)
}

fn row(what: &str, ours: f64, theirs: Option<f64>, goal: &str) {
    let ratio = theirs.map_or_else(|| "-".to_owned(), |theirs| format!("{:.2}", ours / theirs));
    let theirs = theirs.map_or_else(|| "-".to_owned(), |theirs| format!("{theirs:.1}"));
    println!("{what:<46} {ours:>12.1} {theirs:>12} {ratio:>7}   {goal}");
}
