//! A directory with clusters in it, and clients of them.

use std::future::Future;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use mainstay_engine::supervise::EngineUser;
use mainstay_engine::{ClusterSpec, CredentialSpec, Engine, EngineError, InstanceSpec};
use mainstay_engine_postgresql::{PostgresqlConfig, PostgresqlEngine};
use mainstay_types::{BindingId, InstanceId, InstanceName, NodeName, Parameters, Plan, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection};
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

/// What ends the servers of a place and removes it when the test process closes its pipe, however it ends.
const GUARDIAN: &str = r#"
cat > /dev/null
for file in "$1"/*/data/postmaster.pid; do
    [ -f "$file" ] || continue
    pid=$(head -n 1 "$file")
    [ "$(readlink "/proc/$pid/cwd")" = "$(dirname "$file")" ] || continue
    kill -QUIT "$pid"
    for _ in $(seq 200); do [ -e "/proc/$pid/cwd" ] || break; sleep 0.02; done
done
umount "$1" 2> /dev/null
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

    pub fn config(&self) -> PostgresqlConfig {
        PostgresqlConfig::new(self.clusters.clone(), EngineUser::resolve(None).unwrap())
    }

    pub fn engine(&self) -> PostgresqlEngine {
        PostgresqlEngine::new(self.config())
    }

    pub fn data(&self, cluster: &ClusterSpec) -> PathBuf {
        self.clusters.join(cluster.name.as_str()).join("data")
    }

    pub fn log(&self, cluster: &ClusterSpec) -> String {
        let path = self.clusters.join(cluster.name.as_str()).join("log/engine.log");
        std::fs::read_to_string(path).unwrap_or_default()
    }

    pub fn server_pid(&self, cluster: &ClusterSpec) -> i32 {
        let text = std::fs::read_to_string(self.data(cluster).join("postmaster.pid")).unwrap();
        text.lines().next().unwrap().trim().parse().unwrap()
    }

    /// A superuser's session, by the way that the engine itself takes.
    pub async fn superuser(&self, cluster: &ClusterSpec, database: &str) -> PgConnection {
        self.try_superuser(cluster, database).await.unwrap()
    }

    /// The same of a server that may be down.
    pub async fn try_superuser(&self, cluster: &ClusterSpec, database: &str) -> Result<PgConnection, sqlx::Error> {
        let socket = self.clusters.join(cluster.name.as_str()).join("run");
        let options = PgConnectOptions::new_without_pgpass()
            .socket(socket)
            .port(cluster.port)
            .username("mainstay")
            .database(database);
        PgConnection::connect_with(&options).await
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.guardian.stdin.take());
        let _ = self.guardian.wait();
    }
}

/// A cluster that most tests share, since making one takes a second.
pub struct Shared {
    pub place: Place,
    pub engine: Arc<PostgresqlEngine>,
    pub cluster: ClusterSpec,
}

/// An instance with a binding on a cluster.
pub struct Tenant {
    pub instance: InstanceSpec,
    pub credential: CredentialSpec,
    pub uri: String,
}

impl Tenant {
    pub async fn new(engine: &PostgresqlEngine, cluster: &ClusterSpec) -> Self {
        let instance = InstanceSpec {
            id: InstanceId::from_random(next_number()),
            name: InstanceName::first(),
            parameters: Parameters::default(),
        };
        engine.provision(cluster, &instance).await.unwrap();
        Self::binding(engine, cluster, &instance).await
    }

    /// Another binding of an instance.
    pub async fn binding(engine: &PostgresqlEngine, cluster: &ClusterSpec, instance: &InstanceSpec) -> Self {
        Self::bound(engine, cluster, instance, None).await.unwrap()
    }

    /// Another binding of this instance, allowed what its statements say.
    pub async fn limited(&self, shared: &Shared, statements: &[&str]) -> Result<Self, EngineError> {
        let statements = statements.iter().map(|statement| (*statement).to_owned()).collect();
        Self::bound(&shared.engine, &shared.cluster, &self.instance, Some(statements)).await
    }

    pub async fn bound(
        engine: &PostgresqlEngine,
        cluster: &ClusterSpec,
        instance: &InstanceSpec,
        statements: Option<Vec<String>>,
    ) -> Result<Self, EngineError> {
        let credential = CredentialSpec {
            binding: BindingId::from_random(next_number()),
            generation: 1,
            login: 1,
            instance: instance.id.clone(),
            valid_until: Timestamp::now().plus_seconds(3_600).whole_seconds(),
            statements,
        };
        let password = SecretString::from(PASSWORD);
        engine.bind(cluster, instance, &credential, &password).await?;
        let uri = engine.delivery(cluster, instance, &credential, &password)["uri"].expose_secret().to_owned();
        Ok(Self { instance: instance.clone(), credential, uri })
    }

    pub fn database(&self) -> String {
        format!("db_{}", self.instance.id.suffix())
    }

    pub fn owner(&self) -> String {
        format!("o_{}", self.instance.id.suffix())
    }

    pub async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.uri).await.unwrap()
    }
}

/// Runs a test.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().unwrap()).block_on(test)
}

/// The cluster that tests share.
pub async fn shared() -> &'static Shared {
    static SHARED: OnceCell<Shared> = OnceCell::const_new();
    let make = || async {
        let place = Place::new();
        let engine = Arc::new(place.engine());
        let mut cluster = cluster(Plan::Shared);
        cluster.identity = Some(engine.start(&cluster).await.unwrap().identity);
        Shared { place, engine, cluster }
    };
    SHARED.get_or_init(make).await
}

/// A cluster that is not there yet, on a free port.
pub fn cluster(plan: Plan) -> ClusterSpec {
    ClusterSpec {
        name: format!("postgresql-{}", next_number()).parse().unwrap(),
        node: NodeName::local(),
        plan,
        port: free_port(),
        parameters: Parameters::default(),
        identity: None,
    }
}

pub async fn execute(connection: &mut PgConnection, statements: &str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(statements)).execute(connection).await.map(drop)
}

pub async fn count(connection: &mut PgConnection, query: &str) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(query)).fetch_one(connection).await.unwrap()
}

/// Waits until a condition holds.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition().await {
        assert!(Instant::now() < deadline, "it should become true that {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Writes a file that the engine's user owns, as the engine's own tools would.
pub fn overwrite(path: &Path, text: &str) {
    let mut file = std::fs::OpenOptions::new().write(true).truncate(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn next_number() -> u64 {
    static NUMBER: AtomicU64 = AtomicU64::new(1_000);
    NUMBER.fetch_add(1, Ordering::Relaxed)
}
