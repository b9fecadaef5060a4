//! A directory with clusters in it, and clients of them.

use std::future::Future;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lapin::options::{BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use mainstay_engine::supervise::EngineUser;
use mainstay_engine::{Availability, ClusterSpec, CredentialSpec, Engine, InstanceSpec};
use mainstay_engine_rabbitmq::{RabbitmqConfig, RabbitmqEngine};
use mainstay_types::{BindingId, InstanceId, InstanceName, NodeName, Parameters, Plan, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

/// What ends the nodes of a place and removes it when the test process closes its pipe, however it ends.
const GUARDIAN: &str = r#"
cat > /dev/null
for process in /proc/[0-9]*; do
    case "$(readlink "$process/cwd")" in "$1"/*) kill -KILL "${process#/proc/}" 2> /dev/null ;; esac
done
sleep 0.2
rm -rf "$1"
"#;

pub const PASSWORD: &str = "correct/horse battery@staple";

/// A temporary directory of clusters.
pub struct Place {
    pub clusters: PathBuf,
    pub tls_port: u16,
    guardian: Child,
}

impl Place {
    pub fn new() -> Self {
        let clusters = tempfile::tempdir().unwrap().keep();
        std::fs::set_permissions(&clusters, PermissionsExt::from_mode(0o711)).unwrap();
        let mut guardian = Command::new("/bin/sh");
        guardian.args(["-c", GUARDIAN, "guardian"]).arg(&clusters).stdin(Stdio::piped());
        Self { clusters, tls_port: free_port(), guardian: guardian.spawn().unwrap() }
    }

    pub fn config(&self) -> RabbitmqConfig {
        let config = RabbitmqConfig::new(self.clusters.clone(), EngineUser::resolve(None).unwrap());
        RabbitmqConfig { tls_port: self.tls_port, ..config }
    }

    pub fn engine(&self) -> RabbitmqEngine {
        RabbitmqEngine::new(self.config())
    }

    /// A file or directory of a cluster.
    pub fn path(&self, cluster: &ClusterSpec, path: &str) -> PathBuf {
        self.clusters.join(cluster.name.as_str()).join(path)
    }

    pub fn log(&self, cluster: &ClusterSpec) -> String {
        std::fs::read_to_string(self.path(cluster, "log/engine.log")).unwrap_or_default()
    }

    /// One of RabbitMQ's own tools.
    pub fn program(&self, name: &str) -> PathBuf {
        let versions = std::fs::read_dir("/usr/lib/rabbitmq/lib").unwrap().flatten();
        versions.map(|version| version.path().join("sbin").join(name)).find(|program| program.exists()).unwrap()
    }

    /// A JSON file of a cluster's.
    pub fn read(&self, cluster: &ClusterSpec, path: &str) -> Value {
        serde_json::from_slice(&std::fs::read(self.path(cluster, path)).unwrap()).unwrap()
    }

    pub fn pid(&self, cluster: &ClusterSpec) -> i32 {
        i32::try_from(self.read(cluster, "process.json")["pid"].as_i64().unwrap()).unwrap()
    }

    pub fn management_port(&self, cluster: &ClusterSpec) -> u16 {
        u16::try_from(self.read(cluster, "ports.json")["management"].as_u64().unwrap()).unwrap()
    }

    /// What whoever may do everything with a node does to it.
    pub fn administer(&self, cluster: &ClusterSpec, method: &str, path: &str, body: &str) -> String {
        let secret = std::fs::read_to_string(self.path(cluster, "admin.secret")).unwrap();
        let port = self.management_port(cluster);
        let (status, answer) = manage(port, "mainstay", &secret, method, path, body);
        assert!((200..300).contains(&status), "{method} {path} was answered {status}: {answer}");
        answer
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.guardian.stdin.take());
        let _ = self.guardian.wait();
    }
}

/// A cluster that most tests share.
pub struct Shared {
    pub place: Place,
    pub engine: Arc<RabbitmqEngine>,
    pub cluster: ClusterSpec,
}

/// An instance with a binding on a cluster.
pub struct Tenant {
    pub instance: InstanceSpec,
    pub credential: CredentialSpec,
    pub uri: String,
}

impl Tenant {
    pub async fn new(engine: &RabbitmqEngine, cluster: &ClusterSpec, parameters: &[(&str, &str)]) -> Self {
        let parameters = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let id = InstanceId::from_random(next_number());
        let instance = InstanceSpec { id, name: InstanceName::first(), parameters };
        engine.provision(cluster, &instance).await.unwrap();
        let credential = CredentialSpec {
            binding: BindingId::from_random(next_number()),
            generation: 1,
            login: 1,
            instance: instance.id.clone(),
            valid_until: Timestamp::now().plus_seconds(3_600).whole_seconds(),
            statements: None,
        };
        let password = SecretString::from(PASSWORD);
        engine.bind(cluster, &instance, &credential, &password).await.unwrap();
        let uri = engine.delivery(cluster, &instance, &credential, &password)["uri"].expose_secret().to_owned();
        Self { instance, credential, uri }
    }

    pub fn virtual_host(&self) -> String {
        format!("i_{}", self.instance.id.suffix())
    }

    pub async fn connect(&self) -> Connection {
        connect(&self.uri).await.unwrap()
    }

    /// A session with confirms.
    pub async fn channel(&self) -> (Connection, Channel) {
        let connection = self.connect().await;
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        (connection, channel)
    }
}

/// A client's connection.
pub async fn connect(uri: &str) -> Result<Connection, lapin::Error> {
    Connection::connect(uri, ConnectionProperties::default()).await
}

/// A durable queue with one more argument.
pub async fn declare(channel: &Channel, name: &str, argument: Option<(&str, &str)>) -> Result<(), lapin::Error> {
    let mut arguments = FieldTable::default();
    if let Some((key, value)) = argument {
        arguments.insert(key.into(), AMQPValue::LongString(value.into()));
    }
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(name.into(), options, arguments).await.map(drop)
}

/// Publishes a persistent message; whether it was confirmed.
pub async fn publish(channel: &Channel, queue: &str, body: &[u8]) -> Result<bool, lapin::Error> {
    let persistent = BasicProperties::default().with_delivery_mode(2);
    let options = BasicPublishOptions::default();
    let confirm = channel.basic_publish("".into(), queue.into(), options, body, persistent).await?;
    Ok(matches!(confirm.await?, Confirmation::Ack(None)))
}

/// Takes a message; none when the queue is empty.
pub async fn get(channel: &Channel, queue: &str) -> Result<Option<Vec<u8>>, lapin::Error> {
    let found = channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await?;
    Ok(found.map(|message| message.delivery.data.clone()))
}

/// A request to the management API: status and body.
pub fn manage(port: u16, user: &str, password: &str, method: &str, path: &str, body: &str) -> (u16, String) {
    let credentials = STANDARD.encode(format!("{user}:{password}"));
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    write!(
        stream,
        "{method} /api/{path} HTTP/1.0\r\nHost: localhost\r\nAuthorization: Basic {credentials}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split_ascii_whitespace().nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

/// The processes of a cluster, by what their environment says.
pub fn processes(directory: &Path) -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        String::from_utf8_lossy(&environment).contains(directory.to_str().unwrap())
    })
    .collect()
}

/// The addresses, as the system writes them, that processes listen on.
pub fn listeners(pids: &[i32]) -> Vec<String> {
    let descriptors = pids.iter().flat_map(|pid| std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten());
    let sockets: Vec<String> = descriptors
        .filter_map(|entry| Some(std::fs::read_link(entry.path()).ok()?.to_str()?.to_owned()))
        .filter_map(|link| Some(link.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| std::fs::read_to_string(table).unwrap_or_default());
    let lines = tables.iter().flat_map(|table| table.lines().skip(1));
    lines
        .map(|line| line.split_ascii_whitespace().collect::<Vec<_>>())
        .filter(|fields| fields[3] == "0A" && sockets.iter().any(|socket| socket == fields[9]))
        .map(|fields| fields[1].to_owned())
        .collect()
}

/// Runs a test, where there is a RabbitMQ to run it with.
pub fn run(test: impl Future<Output = ()>) {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| Runtime::new().unwrap());
    let place = PathBuf::from("/nowhere");
    let engine = RabbitmqEngine::new(RabbitmqConfig::new(place, EngineUser::resolve(None).unwrap()));
    match runtime.block_on(engine.availability()) {
        Availability::Installed { .. } => runtime.block_on(test),
        Availability::Missing { reason, remedy } => {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "{reason}; {remedy}");
            eprintln!("SKIPPED, NOTHING WAS TESTED: {reason}; {remedy}");
        }
    }
}

/// The cluster that tests share.
pub async fn shared() -> &'static Shared {
    static SHARED: OnceCell<Shared> = OnceCell::const_new();
    let make = || async {
        let place = Place::new();
        let engine = Arc::new(place.engine());
        let mut cluster = cluster();
        cluster.identity = Some(engine.start(&cluster).await.unwrap().identity);
        Shared { place, engine, cluster }
    };
    SHARED.get_or_init(make).await
}

/// A cluster that is not there yet, on a free port.
pub fn cluster() -> ClusterSpec {
    ClusterSpec {
        name: format!("rabbitmq-{}", next_number()).parse().unwrap(),
        node: NodeName::local(),
        plan: Plan::Shared,
        port: free_port(),
        parameters: Parameters::default(),
        identity: None,
    }
}

/// Waits until a condition holds.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition().await {
        assert!(Instant::now() < deadline, "it should become true that {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn next_number() -> u64 {
    static NUMBER: AtomicU64 = AtomicU64::new(1_000);
    NUMBER.fetch_add(1, Ordering::Relaxed)
}
