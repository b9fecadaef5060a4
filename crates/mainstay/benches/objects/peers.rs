//! The stores that are measured: ours as the real binary, Garage, s3s-fs, and what the wire alone allows.

use std::fs;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{Layer, Options, until};
use crate::sign::Account;

const PATIENCE: Duration = Duration::from_secs(30);
const SECRET: &str = "b3f1c1a2d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f";

/// A store that runs; it ends, and its data with it, when this is dropped.
pub struct Peer {
    pub name: &'static str,
    pub account: Account,
    pub pid: Option<u32>,
    _running: Running,
}

enum Running {
    Layer(#[allow(dead_code, reason = "held until it is to end")] Box<Layer>),
    Process(Child, #[allow(dead_code, reason = "held until it is to end")] TempDir),
    Thread,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Self::Process(process, _) = self {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Ours: the release binary, durable as always.
pub fn ours() -> Peer {
    let layer = Layer::start(Options::default());
    let account = bucket_of(&layer);
    Peer { name: "ours", account, pid: Some(layer.pid()), _running: Running::Layer(Box::new(layer)) }
}

/// A bucket of a layer, with credentials for it.
pub fn bucket_of(layer: &Layer) -> Account {
    layer.create_bucket("bench", json!({}));
    let bound = layer.bind("bench", "bench");
    let text = |key: &str| bound["credentials"][key].as_str().unwrap().to_owned();
    Account {
        port: layer.s3_port(),
        bucket: text("bucket"),
        access_key: text("access-key-id"),
        secret: text("secret-access-key"),
    }
}

/// Garage on one node, as its documentation sets it up; it syncs neither data nor metadata.
pub fn garage() -> Option<Peer> {
    let folder = tempfile::tempdir().unwrap();
    let [s3, rpc, admin] = [free_port(), free_port(), free_port()];
    let (path, port) = (folder.path().display(), s3);
    let config = format!(
        "metadata_dir = \"{path}/meta\"\ndata_dir = \"{path}/data\"\ndb_engine = \"lmdb\"\nreplication_factor = 1\n\
         rpc_bind_addr = \"127.0.0.1:{rpc}\"\nrpc_secret = \"{SECRET}\"\n[s3_api]\ns3_region = \"us-east-1\"\n\
         api_bind_addr = \"127.0.0.1:{port}\"\n[admin]\napi_bind_addr = \"127.0.0.1:{admin}\"\n"
    );
    let file = folder.path().join("garage.toml");
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).mode(0o600).open(&file).unwrap().write_all(config.as_bytes()).unwrap();
    let access_key = "GK31c2f218a2e44f485b94239e".to_owned();
    let mut command = Command::new("garage");
    command
        .env("GARAGE_DEFAULT_ACCESS_KEY", &access_key)
        .env("GARAGE_DEFAULT_SECRET_KEY", SECRET)
        .env("GARAGE_DEFAULT_BUCKET", "bench")
        .arg("-c")
        .arg(&file)
        .args(["server", "--single-node", "--default-bucket"]);
    let account = Account { port, bucket: "bench".to_owned(), access_key, secret: SECRET.to_owned() };
    started("garage", command, account, folder)
}

/// The example store of the S3 library that ours is built on: a file for each object, no index, no fsync.
pub fn s3s_fs() -> Option<Peer> {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("bench")).unwrap();
    let port = free_port();
    let mut command = Command::new("s3s-fs");
    command.args(["--host", "127.0.0.1", "--port", &port.to_string()]);
    command.args(["--access-key", "bench", "--secret-key", SECRET]).arg(folder.path());
    let (access_key, secret) = ("bench".to_owned(), SECRET.to_owned());
    started("s3s-fs", command, Account { port, bucket: "bench".to_owned(), access_key, secret }, folder)
}

fn started(name: &'static str, mut command: Command, account: Account, folder: TempDir) -> Option<Peer> {
    let process = match command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn() {
        Ok(process) => process,
        Err(error) => {
            println!("{name} is left out ({error}): run scripts/setup bench");
            return None;
        }
    };
    until("a peer listens", PATIENCE, || TcpStream::connect(("127.0.0.1", account.port)).ok().map(drop));
    let pid = Some(process.id());
    Some(Peer { name, account, pid, _running: Running::Process(process, folder) })
}

/// The same client against a server that keeps nothing and hashes nothing: what the wire and the client allow.
pub fn wire(size: usize) -> Peer {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer_all(stream, size));
        }
    });
    let text = |text: &str| text.to_owned();
    let account = Account { port, bucket: text("bench"), access_key: text("bench"), secret: text(SECRET) };
    Peer { name: "wire", account, pid: None, _running: Running::Thread }
}

/// Takes every body and answers it with nothing; answers every GET with a body of the size.
async fn answer_all(mut stream: tokio::net::TcpStream, size: usize) {
    let _ = stream.set_nodelay(true);
    let mut answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n").into_bytes();
    answer.resize(answer.len() + size, 7);
    let mut buffer = vec![0u8; 1 << 20];
    let mut filled = 0;
    while let Ok(read @ 1..) = stream.read(&mut buffer[filled..]).await {
        filled += read;
        let Some(end) = buffer[..filled].windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let is_get = buffer.starts_with(b"GET");
        let mut missing = if is_get { 0 } else { size.saturating_sub(filled - end - 4) };
        while missing > 0 {
            let Ok(read @ 1..) = stream.read(&mut buffer).await else { return };
            missing -= read;
        }
        filled = 0;
        let sent: &[u8] = if is_get { &answer } else { b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n" };
        if stream.write_all(sent).await.is_err() {
            return;
        }
    }
}

/// The most memory that a process has had, in MiB.
pub fn peak_memory(pid: u32) -> f64 {
    let status = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
