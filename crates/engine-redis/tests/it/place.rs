//! A directory with clusters in it, and clients of them.

use std::future::Future;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use mainstay_engine::supervise::{EngineUser, Signal};
use mainstay_engine::{Availability, ClusterSpec, CredentialSpec, Engine, EngineError, InstanceSpec};
use mainstay_engine_redis::{Flavour, RedisConfig, RedisEngine};
use mainstay_types::{BindingId, InstanceId, InstanceName, NodeName, Plan, Timestamp};
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, FromRedisValue, IntoConnectionInfo, RedisConnectionInfo,
    RedisError,
};
use secrecy::{ExposeSecret, SecretString};

/// What ends the servers of a place and removes it when the test process closes its pipe, however it ends.
const GUARDIAN: &str = r#"
cat > /dev/null
for file in "$1"/*/process.json; do
    [ -f "$file" ] || continue
    pid=$(sed -n 's/.*"pid": \([0-9]*\).*/\1/p' "$file")
    [ "$(readlink "/proc/$pid/cwd")" = "$(dirname "$file")/data" ] || continue
    kill -KILL "$pid"
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
    pub fn new() -> Self {
        let clusters = tempfile::tempdir().unwrap().keep();
        std::fs::set_permissions(&clusters, PermissionsExt::from_mode(0o711)).unwrap();
        let mut guardian = Command::new("/bin/sh");
        guardian.args(["-c", GUARDIAN, "guardian"]).arg(&clusters).stdin(Stdio::piped());
        Self { clusters, guardian: guardian.spawn().unwrap() }
    }

    pub fn config(&self, flavour: Flavour) -> RedisConfig {
        let mut config = RedisConfig::new(flavour, self.clusters.clone(), EngineUser::resolve(None).unwrap());
        config.bin_dir = bin_dir(flavour);
        config
    }

    pub fn engine(&self, flavour: Flavour) -> RedisEngine {
        RedisEngine::new(self.config(flavour))
    }

    pub fn root(&self, cluster: &ClusterSpec) -> PathBuf {
        self.clusters.join(cluster.name.as_str())
    }

    pub fn data(&self, cluster: &ClusterSpec) -> PathBuf {
        self.root(cluster).join("data")
    }

    pub fn log(&self, cluster: &ClusterSpec) -> String {
        std::fs::read_to_string(self.root(cluster).join("log/engine.log")).unwrap_or_default()
    }

    pub fn server_pid(&self, cluster: &ClusterSpec) -> i32 {
        let text = std::fs::read_to_string(self.root(cluster).join("process.json")).unwrap();
        let record: serde_json::Value = serde_json::from_str(&text).unwrap();
        record["pid"].as_i64().unwrap().try_into().unwrap()
    }

    /// Directories of scratch clusters, by name.
    pub fn scratch_remains(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.clusters).unwrap().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with("scratch")).collect()
    }

    /// Processes that work in the directory of a scratch cluster.
    pub fn scratch_processes(&self) -> Vec<String> {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let directories = processes.filter_map(|process| std::fs::read_link(process.path().join("cwd")).ok());
        let scratch = self.clusters.join("scratch").to_string_lossy().into_owned();
        let directories = directories.map(|directory| directory.to_string_lossy().into_owned());
        directories.filter(|directory| directory.starts_with(&scratch)).collect()
    }

    pub fn kill(&self, cluster: &ClusterSpec) {
        self.signal(cluster, Signal::KILL);
    }

    pub fn signal(&self, cluster: &ClusterSpec, signal: Signal) {
        let pid = rustix::process::Pid::from_raw(self.server_pid(cluster)).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Who may everything, by the way that the engine itself takes.
    pub async fn admin(&self, cluster: &ClusterSpec) -> Session {
        let secret = std::fs::read_to_string(self.root(cluster).join("admin.secret")).unwrap();
        let address = ConnectionAddr::Unix(self.root(cluster).join("run/admin.sock"));
        let settings = RedisConnectionInfo::default().set_username("mainstay").set_password(secret);
        Session::connect(address.into_connection_info().unwrap().set_redis_settings(settings)).await.unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.guardian.stdin.take());
        let _ = self.guardian.wait();
    }
}

/// A client's connection.
#[derive(Clone)]
pub struct Session(pub MultiplexedConnection);

impl Session {
    pub async fn connect(to: impl IntoConnectionInfo) -> Result<Self, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(Duration::from_secs(5)))
            .set_response_timeout(Some(Duration::from_secs(20)));
        Ok(Self(Client::open(to)?.get_multiplexed_async_connection_with_config(&config).await?))
    }

    /// The answer to a command, its words separated by blanks.
    pub async fn say<T: FromRedisValue>(&mut self, words: &str) -> Result<T, RedisError> {
        command(words).query_async(&mut self.0).await
    }

    /// The same where it has to be carried out.
    pub async fn done(&mut self, words: &str) {
        self.say::<()>(words).await.unwrap_or_else(|error| panic!("{words}: {error}"));
    }
}

pub fn command(words: &str) -> Cmd {
    let mut words = words.split(' ');
    let mut command = redis::cmd(words.next().unwrap());
    words.for_each(|word| {
        command.arg(word);
    });
    command
}

/// An instance with a binding on a cluster.
pub struct Tenant {
    pub instance: InstanceSpec,
    pub credential: CredentialSpec,
    pub uri: String,
    /// What its keys begin with.
    pub prefix: String,
}

impl Tenant {
    pub async fn new(engine: &RedisEngine, cluster: &ClusterSpec) -> Self {
        let instance = InstanceSpec {
            id: InstanceId::from_random(next_number()),
            name: InstanceName::first(),
            parameters: cluster.parameters.clone(),
        };
        engine.provision(cluster, &instance).await.unwrap();
        Self::bound(engine, cluster, &instance).await.unwrap()
    }

    pub async fn bound(
        engine: &RedisEngine,
        cluster: &ClusterSpec,
        instance: &InstanceSpec,
    ) -> Result<Self, EngineError> {
        let credential = CredentialSpec {
            binding: BindingId::from_random(next_number()),
            generation: 1,
            login: 1,
            instance: instance.id.clone(),
            valid_until: Timestamp::now().plus_seconds(3_600).whole_seconds(),
            statements: None,
        };
        let password = SecretString::from(PASSWORD);
        engine.bind(cluster, instance, &credential, &password).await?;
        let delivery = engine.delivery(cluster, instance, &credential, &password);
        let prefix = delivery.get("prefix").map(|prefix| prefix.expose_secret().to_owned());
        let uri = delivery["uri"].expose_secret().to_owned();
        Ok(Self { instance: instance.clone(), credential, uri, prefix: prefix.unwrap_or_default() })
    }

    pub async fn connect(&self) -> Session {
        Session::connect(self.uri.as_str()).await.unwrap()
    }
}

/// Runs a test of an engine, or says loudly that it did not.
pub fn run<F: Future<Output = ()>>(flavour: Flavour, test: impl FnOnce(Place) -> F) {
    // One after another: a child that another test forks holds the locks of this one's clusters until it has become another
    // program, and the next control plane would be refused.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let place = Place::new();
        match place.engine(flavour).availability().await {
            Availability::Installed { .. } => test(place).await,
            Availability::Missing { reason, remedy } => {
                assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{reason}; {remedy}");
                eprintln!("SKIPPED: {reason}; {remedy}");
            }
        }
    });
}

/// Runs a test of both engines.
pub fn run_both<F: Future<Output = ()>>(test: impl Fn(Place, Flavour) -> F) {
    for flavour in [Flavour::Redis, Flavour::Valkey] {
        run(flavour, |place| test(place, flavour));
    }
}

/// A cluster that is not there yet, on a free port.
pub fn cluster(flavour: Flavour, plan: Plan, parameters: &[(&str, &str)]) -> ClusterSpec {
    ClusterSpec {
        name: format!("{}-{}", flavour.name(), next_number()).parse().unwrap(),
        node: NodeName::local(),
        plan,
        port: free_port(),
        parameters: parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        identity: None,
    }
}

/// A cluster that serves.
pub async fn started(engine: &RedisEngine, flavour: Flavour, plan: Plan, parameters: &[(&str, &str)]) -> ClusterSpec {
    let mut spec = cluster(flavour, plan, parameters);
    spec.identity = Some(engine.start(&spec).await.unwrap().identity);
    spec
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

/// Where Valkey is, which Debian 12 has no package of.
fn bin_dir(flavour: Flavour) -> Option<PathBuf> {
    match flavour {
        Flavour::Redis => None,
        Flavour::Valkey => std::env::var_os("MAINSTAY_TEST_VALKEY_BIN_DIR").map(PathBuf::from),
    }
}

fn next_number() -> u64 {
    static NUMBER: AtomicU64 = AtomicU64::new(1_000);
    NUMBER.fetch_add(1, Ordering::Relaxed)
}
