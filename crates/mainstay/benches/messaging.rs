//! Figures of cache and messaging, each held against the same engine by hand in the same run.
//!
//! `cargo bench -p mainstay --bench messaging`; `-- --quick` takes fewer rounds. The real release binary is measured through
//! its API, and clients connect with what bindings tell.

#![allow(clippy::unwrap_used, reason = "a benchmark that fails stops")]

#[allow(dead_code, unused_imports, reason = "the tests use all of it")]
#[path = "../tests/it/harness/mod.rs"]
mod harness;

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use harness::{Layer, Options};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::{BasicProperties, Connection, ConnectionProperties};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);
/// How often is looked whether a server by hand answers: seldom enough to leave it the processor, often enough not to add to its time.
const LOOK_AGAIN: Duration = Duration::from_micros(200);
/// Bytes of a message.
const MESSAGE: usize = 256;
/// An account as ours are, with a user or without: the same limits, and the same subjects denied.
const ACCOUNT: &str = "jetstream { max_mem: 16777216, max_file: 536870912, max_streams: 50, max_consumers: 100 }\n\
                       limits { max_connections: 101, max_payload: 1048576, max_subscriptions: 100000 }\n";
const DENIED: &str =
    r#"permissions: { publish: { deny: ["$JS.API.ACCOUNT.>", "$JS.API.META.>", "$JS.API.SERVER.>"] } }"#;

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let rounds = if quick { 5 } else { 21 };
    let layer = Layer::start(Options::default());
    let folder = tempfile::tempdir().unwrap();
    println!("{:<42} {:>10} {:>10} {:>7}   goal", "", "ours", "by hand", "ratio");
    redis_made(&layer, folder.path(), rounds);
    nats_made(&layer, folder.path(), rounds);
    amqp_made(&layer, rounds);
    redis_used(&layer, folder.path(), quick);
    nats_used(&layer, folder.path(), quick);
    amqp_used(&layer, quick);
}

// === Create, bind, and the first answer ===

fn redis_made(layer: &Layer, folder: &Path, rounds: usize) {
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let started = Instant::now();
        let bound = made(layer, "redis/v1", &format!("cache-{round}"));
        redis_ping(&bound);
        ours.push(started.elapsed());
        let started = Instant::now();
        drop(bare_redis(folder));
        bare.push(started.elapsed());
    }
    times("redis: create, bind, PONG", ours, bare, "at most 1.3");
}

fn nats_made(layer: &Layer, folder: &Path, rounds: usize) {
    made(layer, "nats/v1", "warm-nats");
    let server = BareNats::start(folder);
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let started = Instant::now();
        let bound = made(layer, "nats/v1", &format!("bus-{round}"));
        nats_connect(&bound);
        ours.push(started.elapsed());
        let started = Instant::now();
        // The account, then its user: two changes, as ours.
        server.write(&account(&format!("A{round}"), ""));
        server.write(&account(&format!("A{round}"), &format!("u{round}")));
        let bound = server.bound(&format!("u{round}"));
        soon("the account is there", || try_nats_connect(&bound));
        bare.push(started.elapsed());
    }
    times("nats: create, bind, PONG", ours, bare, "at most 2");
}

fn amqp_made(layer: &Layer, rounds: usize) {
    made(layer, "amqp/v1", "warm-amqp");
    let node = Node::of(layer);
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let started = Instant::now();
        made(layer, "amqp/v1", &format!("work-{round}"));
        ours.push(started.elapsed());
        let started = Instant::now();
        node.make(&format!("bare-{round}"));
        bare.push(started.elapsed());
    }
    times("amqp: create and bind", ours, bare, "at most 2");
}

/// The management API of the layer's node.
struct Node {
    agent: ureq::Agent,
    api: String,
    authorization: String,
}

impl Node {
    fn of(layer: &Layer) -> Self {
        let cluster = layer.data_dir().join("clusters/rabbitmq-shared");
        let ports: Value = serde_json::from_slice(&std::fs::read(cluster.join("ports.json")).unwrap()).unwrap();
        let secret = std::fs::read_to_string(cluster.join("admin.secret")).unwrap();
        let basic = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("mainstay:{secret}"));
        Self {
            agent: ureq::Agent::new_with_defaults(),
            api: format!("http://127.0.0.1:{}/api", ports["management"]),
            authorization: format!("Basic {basic}"),
        }
    }

    /// What an instance and a binding of ours are, one request after the other.
    fn make(&self, name: &str) {
        let policy = |definition: Value| json!({ "pattern": ".*", "apply-to": "queues", "definition": definition });
        self.put(&format!("vhosts/{name}"), json!({}));
        self.put(&format!("vhost-limits/{name}/max-connections"), json!({ "value": 100 }));
        self.put(&format!("vhost-limits/{name}/max-queues"), json!({ "value": 100 }));
        self.put(&format!("operator-policies/{name}/p"), policy(json!({ "max-length-bytes": 64 << 20 })));
        self.put(&format!("policies/{name}/p"), policy(json!({ "overflow": "reject-publish" })));
        self.put(&format!("users/{name}"), json!({ "password": "secret", "tags": "" }));
        self.put(&format!("user-limits/{name}/max-channels"), json!({ "value": 1_000 }));
        let all = json!({ "configure": ".*", "write": ".*", "read": ".*" });
        self.put(&format!("permissions/{name}/{name}"), all);
    }

    fn put(&self, path: &str, body: Value) {
        let request = self.agent.put(format!("{}/{path}", self.api)).header("authorization", &self.authorization);
        // Read to its end, so that the next request takes the same connection.
        request.send_json(body).unwrap().body_mut().read_to_string().unwrap();
    }
}

// === Throughput ===

fn redis_used(layer: &Layer, folder: &Path, quick: bool) {
    let bound = made(layer, "redis/v1", "throughput");
    let bare = bare_redis(folder);
    let requests = if quick { "100000" } else { "400000" };
    let run = |credentials: &Value, test: &str| {
        let mut command = Command::new("redis-benchmark");
        command.args(["-h", "127.0.0.1", "-p", credentials["port"].as_str().unwrap()]);
        if let (Some(user), Some(password)) = (credentials["username"].as_str(), credentials["password"].as_str()) {
            command.args(["--user", user, "-a", password]);
        }
        command.args(["-t", test, "-n", requests, "-c", "50", "-d", "256", "-r", "100000", "--csv"]);
        let output = command.stderr(Stdio::null()).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let line = text.lines().last().unwrap().replace('"', "");
        line.split(',').nth(1).unwrap().parse::<f64>().unwrap()
    };
    for test in ["set", "get"] {
        let rates = in_turns(quick, || run(&bound, test), || run(&bare.credentials, test));
        print_rates(&format!("redis: {} /s, 50 connections", test.to_uppercase()), rates);
    }
}

fn nats_used(layer: &Layer, folder: &Path, quick: bool) {
    let bound = made(layer, "nats/v1", "throughput-nats");
    let server = BareNats::start(folder);
    server.write(&account("A", "u"));
    let bare = server.bound("u");
    soon("the account is there", || try_nats_connect(&bare));
    let messages = if quick { 200_000 } else { 1_000_000 };
    let rates = in_turns(quick, || nats_published(&bound, messages), || nats_published(&bare, messages));
    print_rates("nats: messages/s published", rates);
}

fn amqp_used(layer: &Layer, quick: bool) {
    let bound = made(layer, "amqp/v1", "throughput-amqp");
    Node::of(layer).make("throughput");
    let bare = format!("amqp://throughput:secret@127.0.0.1:{}/throughput", bound["port"].as_str().unwrap());
    let ours = bound["uri"].as_str().unwrap().to_owned();
    let runtime = harness::runtime();
    let messages = if quick { 5_000 } else { 20_000 };
    let rate = |uri: &str| runtime.block_on(amqp_published(uri, messages));
    let rates = in_turns(quick, || rate(&ours), || rate(&bare));
    print_rates("amqp: confirmed messages/s", rates);
}

async fn amqp_published(uri: &str, messages: usize) -> f64 {
    let connection = Connection::connect(uri, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let queue = QueueDeclareOptions { auto_delete: true, ..QueueDeclareOptions::default() };
    channel.queue_declare("bench".into(), queue, Default::default()).await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let started = Instant::now();
    let body = vec![7; MESSAGE];
    for _ in 0..messages / 100 {
        let mut confirms = Vec::new();
        for _ in 0..100 {
            let options = BasicPublishOptions::default();
            let sent = channel.basic_publish("".into(), "bench".into(), options, &body, BasicProperties::default());
            confirms.push(sent.await.unwrap());
        }
        for confirm in confirms {
            confirm.await.unwrap();
        }
    }
    let rate = messages as f64 / started.elapsed().as_secs_f64();
    connection.close(200, "done".into()).await.unwrap();
    rate
}

/// Publishes, and waits until the server has read all of it.
fn nats_published(credentials: &Value, messages: usize) -> f64 {
    let (mut stream, mut reader) = nats_connect(credentials);
    let line = [format!("PUB bench {MESSAGE}\r\n").into_bytes(), vec![b'x'; MESSAGE], b"\r\n".to_vec()].concat();
    let hundred = line.repeat(100);
    let started = Instant::now();
    for _ in 0..messages / 100 {
        stream.write_all(&hundred).unwrap();
    }
    stream.write_all(b"PING\r\n").unwrap();
    nats_pong(&mut reader).unwrap();
    messages as f64 / started.elapsed().as_secs_f64()
}

// === Engines by hand ===

/// A `redis-server` as a dedicated cache is, without a layer.
struct BareRedis {
    child: Child,
    credentials: Value,
}

fn bare_redis(folder: &Path) -> BareRedis {
    let port = free_port();
    let child = Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .args(["--maxmemory", "256mb", "--maxmemory-policy", "allkeys-lru", "--dir"])
        .arg(folder)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let credentials = json!({ "host": "127.0.0.1", "port": port.to_string() });
    soon("redis answers", || try_redis_ping(&credentials));
    BareRedis { child, credentials }
}

impl Drop for BareRedis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A `nats-server` with a configuration file that is changed by hand.
struct BareNats {
    child: Child,
    port: u16,
    file: PathBuf,
    folder: PathBuf,
}

impl BareNats {
    fn start(folder: &Path) -> Self {
        let port = free_port();
        let file = folder.join(format!("nats-{port}.conf"));
        write_nats(&file, folder, port, &account("A", "u"));
        let child = Command::new("nats-server").arg("-c").arg(&file).stderr(Stdio::null()).spawn().unwrap();
        let server = Self { child, port, file, folder: folder.to_owned() };
        soon("nats answers", || try_nats_connect(&server.bound("u")));
        server
    }

    /// Writes the accounts and has them read.
    fn write(&self, account: &str) {
        write_nats(&self.file, &self.folder, self.port, account);
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    }

    fn bound(&self, user: &str) -> Value {
        json!({ "host": "127.0.0.1", "port": self.port.to_string(), "username": user, "password": "secret" })
    }
}

impl Drop for BareNats {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write_nats(file: &Path, folder: &Path, port: u16, account: &str) {
    let store = folder.join(format!("nats-{port}"));
    let text = format!(
        "listen: 127.0.0.1:{port}\njetstream: {{ store_dir: {store:?} }}\naccounts: {{\nSYS: {{ users: [{{ user: s, password: s }}] }}\n{account}\n}}\nsystem_account: SYS\n"
    );
    std::fs::write(file, text).unwrap();
}

/// An account by this name, with a user by that one, or none.
fn account(name: &str, user: &str) -> String {
    let users = if user.is_empty() { String::new() } else { format!("{{ user: {user}, password: secret, {DENIED} }}") };
    format!("{name} {{\n{ACCOUNT}users: [{users}]\n}}")
}

/// Asks until there is an answer, and gives it.
fn soon<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "it should come true that {what}");
        std::thread::sleep(LOOK_AGAIN);
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

// === Clients ===

/// Makes an instance and a binding; gives the credentials.
fn made(layer: &Layer, contract: &str, name: &str) -> Value {
    let wanted = json!({ "name": name, "contract": contract });
    let operation = layer.api().post("/api/v1/instances?wait=60s", &wanted).expect(200);
    assert_eq!(operation["state"], "succeeded", "{operation}");
    layer.bind(name, "bench")["credentials"].clone()
}

fn connected(credentials: &Value) -> Option<TcpStream> {
    let port: u16 = credentials["port"].as_str().unwrap().parse().unwrap();
    let stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_nodelay(true).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    Some(stream)
}

fn redis_ping(credentials: &Value) {
    try_redis_ping(credentials).expect("a binding that was made works");
}

fn try_redis_ping(credentials: &Value) -> Option<()> {
    let mut stream = connected(credentials)?;
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut line = String::new();
    if let (Some(user), Some(password)) = (credentials["username"].as_str(), credentials["password"].as_str()) {
        stream.write_all(format!("AUTH {user} {password}\r\n").as_bytes()).ok()?;
        reader.read_line(&mut line).ok()?;
        line.clear();
    }
    stream.write_all(b"PING\r\n").ok()?;
    reader.read_line(&mut line).ok()?;
    (line == "+PONG\r\n").then_some(())
}

fn nats_connect(credentials: &Value) -> (TcpStream, BufReader<TcpStream>) {
    try_nats_connect(credentials).expect("a binding that was made works")
}

fn try_nats_connect(credentials: &Value) -> Option<(TcpStream, BufReader<TcpStream>)> {
    let mut stream = connected(credentials)?;
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let (user, password) = (&credentials["username"], &credentials["password"]);
    let hello = json!({ "verbose": false, "pedantic": false, "user": user, "pass": password });
    stream.write_all(format!("CONNECT {hello}\r\nPING\r\n").as_bytes()).ok()?;
    nats_pong(&mut reader)?;
    Some((stream, reader))
}

fn nats_pong(reader: &mut BufReader<TcpStream>) -> Option<()> {
    loop {
        let mut line = String::new();
        match reader.read_line(&mut line).ok()? {
            0 => return None,
            _ if line.starts_with("PONG") => return Some(()),
            _ if line.starts_with("-ERR") => return None,
            _ => {}
        }
    }
}

// === Figures ===

/// Ours and by hand in turns, so that the machine's moods meet both.
fn in_turns(quick: bool, mut ours: impl FnMut() -> f64, mut bare: impl FnMut() -> f64) -> (Vec<f64>, Vec<f64>) {
    let rounds = if quick { 3 } else { 7 };
    (0..rounds).map(|_| (ours(), bare())).unzip()
}

fn print_rates(what: &str, (ours, bare): (Vec<f64>, Vec<f64>)) {
    let (ours, bare) = (median(ours), median(bare));
    println!("{what:<42} {ours:>10.0} {bare:>10.0} {:>7.2}   at least 0.98", ours / bare);
}

fn times(what: &str, ours: Vec<Duration>, bare: Vec<Duration>, goal: &str) {
    let ms = |times: Vec<Duration>| median(times.iter().map(|time| time.as_secs_f64() * 1e3).collect());
    let (ours, bare) = (ms(ours), ms(bare));
    println!("{what:<42} {ours:>7.1} ms {bare:>7.1} ms {:>7.2}   {goal}", ours / bare);
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
