//! A directory with clusters in it, and tenants of them.

use std::future::Future;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use mainstay_engine::supervise::EngineUser;
use mainstay_engine::{ClusterSpec, CredentialSpec, Engine, InstanceSpec};
use mainstay_engine_nats::{NatsConfig, NatsEngine};
use mainstay_types::{BindingId, InstanceId, InstanceName, NodeName, Parameters, Plan, Timestamp};
use rustix::process::{Pid, Signal, kill_process};
use secrecy::SecretString;
use tokio::runtime::Runtime;

use crate::wire::Wire;

/// What ends the servers of a place and removes it when the test process closes its pipe, however it ends.
const GUARDIAN: &str = r#"
cat > /dev/null
for data in "$1"/*/data; do
    for process in /proc/[0-9]*; do
        [ "$(readlink "$process/cwd")" = "$data" ] && kill -KILL "${process#/proc/}"
    done
done
rm -rf "$1"
"#;

pub const PASSWORD: &str = "correct-horse-battery-staple";

/// A temporary directory of clusters.
pub struct Place {
    pub clusters: PathBuf,
    guardian: Child,
}

impl Place {
    /// None where there is no server to test with, which is said loudly and is a failure where tests must not be skipped.
    pub fn new() -> Option<Self> {
        let installed =
            ["/usr/bin", "/usr/sbin", "/usr/local/bin"].map(|bin| Path::new(bin).join("nats-server").exists());
        if !installed.contains(&true) {
            assert!(std::env::var_os("CI").is_none(), "nats-server is not installed; apt-get install nats-server");
            eprintln!("SKIPPED, nothing was tested: nats-server is not installed; apt-get install nats-server");
            return None;
        }
        let clusters = tempfile::tempdir().unwrap().keep();
        std::fs::set_permissions(&clusters, PermissionsExt::from_mode(0o711)).unwrap();
        let mut guardian = Command::new("/bin/sh");
        guardian.args(["-c", GUARDIAN, "guardian"]).arg(&clusters).stdin(Stdio::piped());
        Some(Self { clusters, guardian: guardian.spawn().unwrap() })
    }

    pub fn config(&self) -> NatsConfig {
        NatsConfig::new(self.clusters.clone(), EngineUser::resolve(None).unwrap())
    }

    pub fn engine(&self) -> NatsEngine {
        NatsEngine::new(self.config())
    }

    /// A started cluster with its engine.
    pub async fn served(&self) -> (Arc<NatsEngine>, ClusterSpec) {
        let engine = Arc::new(self.engine());
        let mut cluster = cluster();
        cluster.identity = Some(engine.start(&cluster).await.unwrap().identity);
        (engine, cluster)
    }

    pub fn data(&self, cluster: &ClusterSpec) -> PathBuf {
        self.root(cluster).join("data")
    }

    pub fn root(&self, cluster: &ClusterSpec) -> PathBuf {
        self.clusters.join(cluster.name.as_str())
    }

    pub fn file(&self, cluster: &ClusterSpec) -> PathBuf {
        self.data(cluster).join("nats.conf")
    }

    pub fn log(&self, cluster: &ClusterSpec) -> String {
        std::fs::read_to_string(self.root(cluster).join("log/engine.log")).unwrap_or_default()
    }

    /// Directories of scratch clusters, and users of ours in the files of others, by name.
    pub fn scratch_remains(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.clusters).unwrap().flatten();
        let names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        let text =
            |name: &String| std::fs::read_to_string(self.clusters.join(name).join("accounts.json")).unwrap_or_default();
        let has_guest = |name: &String| text(name).contains("\"r_");
        names.into_iter().filter(|name| name.starts_with("scratch") || has_guest(name)).collect()
    }

    /// Processes that work in the directory of a scratch cluster.
    pub fn scratch_processes(&self) -> Vec<String> {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let directories = processes.filter_map(|process| std::fs::read_link(process.path().join("cwd")).ok());
        let scratch = self.clusters.join("scratch").to_string_lossy().into_owned();
        let directories = directories.map(|directory| directory.to_string_lossy().into_owned());
        directories.filter(|directory| directory.starts_with(&scratch)).collect()
    }

    pub fn signal(&self, cluster: &ClusterSpec, signal: Signal) {
        let text = std::fs::read(self.root(cluster).join("process.json")).unwrap();
        let record: serde_json::Value = serde_json::from_slice(&text).unwrap();
        kill_process(Pid::from_raw(record["pid"].as_i64().unwrap() as i32).unwrap(), signal).unwrap();
    }

    /// Edits the server's file and has the server read it, as who administers it by hand would.
    pub async fn edit(&self, cluster: &ClusterSpec, edit: impl FnOnce(String) -> String) {
        let path = self.file(cluster);
        std::fs::write(&path, edit(std::fs::read_to_string(&path).unwrap())).unwrap();
        let reloads = || self.log(cluster).matches("Reloaded server configuration").count();
        let before = reloads();
        self.signal(cluster, Signal::HUP);
        eventually("the server reads its file", || async { reloads() > before }).await;
    }

    /// The name of an instance's account.
    pub fn account(&self, cluster: &ClusterSpec, instance: &InstanceSpec) -> String {
        let text = std::fs::read_to_string(self.file(cluster)).unwrap();
        let prefix = format!("a_{}_", instance.id.suffix());
        let line = text.lines().find(|line| line.trim().starts_with(&prefix)).unwrap();
        line.trim().trim_end_matches(" {").to_owned()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.guardian.stdin.take());
        let _ = self.guardian.wait();
    }
}

/// An instance with a binding on a cluster.
pub struct Tenant {
    pub instance: InstanceSpec,
    pub credential: CredentialSpec,
    pub address: String,
}

impl Tenant {
    pub async fn new(engine: &NatsEngine, cluster: &ClusterSpec) -> Self {
        Self::with(engine, cluster, &[]).await
    }

    pub async fn with(engine: &NatsEngine, cluster: &ClusterSpec, parameters: &[(&str, &str)]) -> Self {
        let instance = instance(parameters);
        engine.provision(cluster, &instance).await.unwrap();
        let credential = credential(&instance);
        let password = SecretString::from(PASSWORD);
        engine.bind(cluster, &instance, &credential, &password).await.unwrap();
        Self { instance, credential, address: format!("127.0.0.1:{}", cluster.port) }
    }

    pub async fn wire(&self) -> Wire {
        self.try_wire().await.unwrap()
    }

    pub async fn try_wire(&self) -> Result<Wire, String> {
        Wire::connect(&self.address, Some((&self.credential.username(), PASSWORD))).await
    }
}

pub fn instance(parameters: &[(&str, &str)]) -> InstanceSpec {
    let parameters = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    InstanceSpec {
        id: InstanceId::from_random(next_number()),
        name: InstanceName::first(),
        parameters: parameters.collect::<Parameters>(),
    }
}

pub fn credential(instance: &InstanceSpec) -> CredentialSpec {
    CredentialSpec {
        binding: BindingId::from_random(next_number()),
        generation: 1,
        login: 1,
        instance: instance.id.clone(),
        valid_until: Timestamp::now().plus_seconds(3_600).whole_seconds(),
        statements: None,
    }
}

/// Runs a test.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().unwrap()).block_on(test)
}

/// A cluster that is not there yet, on a free port.
pub fn cluster() -> ClusterSpec {
    ClusterSpec {
        name: format!("nats-{}", next_number()).parse().unwrap(),
        node: NodeName::local(),
        plan: Plan::Shared,
        port: free_port(),
        parameters: Parameters::default(),
        identity: None,
    }
}

/// Waits until a condition holds.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition().await {
        assert!(Instant::now() < deadline, "it should become true that {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn next_number() -> u64 {
    static NUMBER: AtomicU64 = AtomicU64::new(1_000);
    NUMBER.fetch_add(1, Ordering::Relaxed)
}
