//! One cluster: its directory, its process, and our connections to it.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mainstay_engine::supervise::{
    ClusterDirectory, ClusterLock, EngineLog, Launch, Process, Signal, StopStep, end_stragglers,
};
use mainstay_engine::{ClusterSpec, EngineError, StartKind, Started};
use mainstay_types::ClusterName;
use tokio::sync::Mutex;

use crate::admin::{Admin, failed};
use crate::config::PostgresqlConfig;
use crate::data::{self, DataDirectory, Files};
use crate::install::{self, Installation};
use crate::machine::Machine;
use crate::settings::{self, Inputs};
use crate::verifiers::Verifiers;
use crate::{hba, template};

/// How long backends of a killed server get to end by themselves. Those that wait for something do so at once;
/// one that computes does not notice, and 5 s is all that a restart may take.
const STRAGGLER_PATIENCE: Duration = Duration::from_millis(200);
/// How long a new process may take until it says that it starts.
const APPEARANCE_PATIENCE: Duration = Duration::from_secs(30);
/// How long a process that says it starts may take: it replays the write-ahead log, of which there can be more
/// than `max_wal_size` when the disk is slow.
const RECOVERY_PATIENCE: Duration = Duration::from_secs(900);
/// How often is looked whether a server is ready. It reads one small file.
const LOOK_AGAIN: Duration = Duration::from_millis(3);
/// How many log lines explain a failed start.
const EXPLAINING_LINES: usize = 4;
/// Fast shutdown, then the immediate one, from which the server recovers; then force.
const STOP: [StopStep; 3] = [
    StopStep { signal: Signal::INT, patience: Duration::from_secs(30) },
    StopStep { signal: Signal::QUIT, patience: Duration::from_secs(10) },
    StopStep { signal: Signal::KILL, patience: Duration::from_secs(10) },
];

/// A cluster as this process knows it.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub directory: ClusterDirectory,
    pub admin: Admin,
    pub verifiers: Verifiers,
    supervision: Mutex<Supervision>,
}

#[derive(Debug, Default)]
struct Supervision {
    lock: Option<ClusterLock>,
    process: Option<Arc<Process>>,
}

impl Cluster {
    /// The cluster, of which nothing is known yet.
    pub fn new(config: &PostgresqlConfig, spec: &ClusterSpec) -> Self {
        Self::at(ClusterDirectory::new(&config.clusters_dir, &spec.name), spec.port)
    }

    /// A cluster of which only the name is known, which is enough to stop it.
    pub fn of_name(config: &PostgresqlConfig, name: &ClusterName) -> Self {
        Self::at(ClusterDirectory::new(&config.clusters_dir, name), config.shared_port)
    }

    fn at(directory: ClusterDirectory, port: u16) -> Self {
        let admin = Admin::new(&directory.run(), port);
        Self { directory, admin, verifiers: Verifiers::default(), supervision: Mutex::default() }
    }

    /// The running process, found if an earlier control plane started it.
    pub async fn process(&self, config: &PostgresqlConfig) -> Result<Option<Arc<Process>>, EngineError> {
        let mut supervision = self.supervision.lock().await;
        self.attach(&mut supervision, config).await
    }

    /// Why it does not run, as far as that is known.
    pub async fn cause_of_end(&self) -> String {
        let supervision = self.supervision.lock().await;
        let cause = supervision.process.as_ref().and_then(|process| process.cause_of_end());
        cause.unwrap_or_else(|| "no process of it runs".to_owned())
    }

    /// The files that we want in its data directory.
    pub fn files(&self, config: &PostgresqlConfig, spec: &ClusterSpec) -> Files {
        let inputs = Inputs {
            cluster: spec,
            machine: Machine::look(&config.clusters_dir),
            listen_address: config.listen_address,
            socket_directory: &self.directory.run(),
        };
        let mut networks = vec![config.listen_address.into()];
        networks.extend(&config.client_networks);
        let mut users = vec![config.user.name.as_str()];
        // Where we do not run as the engine's user, we are root.
        if rustix::process::geteuid().is_root() {
            users.push("root");
        }
        [
            ("postgresql.conf", settings::render(&inputs)),
            ("pg_hba.conf", hba::access(&networks)),
            ("pg_ident.conf", hba::identities(&users)),
        ]
    }

    /// Makes it serve.
    pub async fn start(&self, config: &PostgresqlConfig, spec: &ClusterSpec) -> Result<Started, EngineError> {
        let mut supervision = self.supervision.lock().await;
        let how = match self.attach(&mut supervision, config).await? {
            Some(process) => {
                self.wait_until_ready(&process, 0).await?;
                StartKind::Adopted
            }
            None => {
                self.directory.socket(&format!(".s.PGSQL.{}.lock", spec.port))?;
                self.directory.prepare(&config.user)?;
                self.lock(&mut supervision)?;
                let (installation, how) = self.data_directory(config, spec).await?;
                self.launch_server(&mut supervision, &installation, config, spec).await?;
                how
            }
        };
        template::prepare(&self.admin).await?;
        let (identity, version): (String, String) = sqlx::query_as(
            "SELECT system_identifier::text, split_part(current_setting('server_version'), ' ', 1) \
             FROM pg_control_system()",
        )
        .fetch_one(self.admin.pool())
        .await
        .map_err(failed("the cluster's identity could not be read"))?;
        refuse_another(spec, &identity)?;
        Ok(Started { identity, version, how })
    }

    /// Stops its process in order.
    pub async fn stop(&self, config: &PostgresqlConfig) -> Result<(), EngineError> {
        let mut supervision = self.supervision.lock().await;
        if let Some(process) = self.attach(&mut supervision, config).await? {
            process.stop(&STOP).await.map_err(|error| EngineError::transient_from("it could not be stopped", error))?;
        }
        let data = self.directory.data();
        end_stragglers(&data, &config.user, STRAGGLER_PATIENCE).await.map(drop).map_err(EngineError::transient)
    }

    /// Removes everything of it but its process, which has to be stopped.
    pub async fn remove(&self) -> Result<(), EngineError> {
        let mut supervision = self.supervision.lock().await;
        self.admin.pool().close().await;
        if !self.directory.root().exists() {
            return Ok(());
        }
        self.lock(&mut supervision)?;
        let directory = self.directory.clone();
        let removed = tokio::task::spawn_blocking(move || directory.remove()).await;
        supervision.lock = None;
        match removed {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(EngineError::transient_from("its directory could not be removed", error)),
            Err(error) => Err(EngineError::transient_from("its directory could not be removed", error)),
        }
    }

    async fn attach(
        &self,
        supervision: &mut Supervision,
        config: &PostgresqlConfig,
    ) -> Result<Option<Arc<Process>>, EngineError> {
        if let Some(process) = &supervision.process {
            return Ok(process.cause_of_end().is_none().then(|| process.clone()));
        }
        if !self.directory.root().exists() {
            return Ok(None);
        }
        self.lock(supervision)?;
        let program = match DataDirectory::look(&self.directory) {
            DataDirectory::Of { major } => installation(config, major).map(|found| found.program("postgres")),
            _ => None,
        };
        let launch = self.launch(program.unwrap_or_default(), config);
        let found = Process::adopt(&launch, &self.directory)
            .map_err(|error| EngineError::transient_from("its process could not be adopted", error))?;
        supervision.process = found.map(Arc::new);
        Ok(supervision.process.clone())
    }

    fn lock(&self, supervision: &mut Supervision) -> Result<(), EngineError> {
        if supervision.lock.is_none() {
            supervision.lock = Some(self.directory.lock()?);
        }
        Ok(())
    }

    /// Sees to it that there is a data directory, the right one, and programs that fit it.
    async fn data_directory(
        &self,
        config: &PostgresqlConfig,
        spec: &ClusterSpec,
    ) -> Result<(Installation, StartKind), EngineError> {
        let data = self.directory.data();
        match DataDirectory::look(&self.directory) {
            DataDirectory::Of { major } => {
                let installation = installation(config, major).ok_or_else(|| wrong_major(config, major, &data))?;
                if spec.identity.is_some() {
                    let identity = data::identity(&self.directory, &installation, &config.user).await?;
                    refuse_another(spec, &identity)?;
                }
                Ok((installation, StartKind::Started))
            }
            DataDirectory::Foreign => Err(EngineError::permanent(
                format!("{} is not a whole PostgreSQL data directory, and it is not initialised anew", data.display()),
                "restore it, or move it away when nothing in it is needed",
            )),
            DataDirectory::Missing if spec.identity.is_some() => Err(EngineError::permanent(
                format!(
                    "the data of cluster {} is gone from {}, and it is not initialised anew",
                    spec.name,
                    data.display()
                ),
                "put the directory back or restore it from a backup; to accept the loss, delete the cluster's instances",
            )),
            DataDirectory::Missing => {
                let installation =
                    install::installed(config.bin_dir.as_deref()).into_iter().next().ok_or_else(|| {
                        EngineError::permanent("PostgreSQL is not installed on this machine", install::INSTALL_REMEDY)
                    })?;
                data::initialise(&self.directory, &installation, &config.user).await?;
                Ok((installation, StartKind::Initialised))
            }
        }
    }

    async fn launch_server(
        &self,
        supervision: &mut Supervision,
        installation: &Installation,
        config: &PostgresqlConfig,
        spec: &ClusterSpec,
    ) -> Result<(), EngineError> {
        let killed = end_stragglers(&self.directory.data(), &config.user, STRAGGLER_PATIENCE)
            .await
            .map_err(EngineError::transient)?;
        if killed > 0 {
            tracing::warn!(cluster = %spec.name, killed, "ended processes that the dead server left behind");
        }
        data::configure(&self.directory, &self.files(config, spec), &config.user)?;
        data::remove_stale_locks(&self.directory)
            .map_err(|error| EngineError::transient_from("the locks of the dead server could not be removed", error))?;
        refuse_taken_port(SocketAddr::new(config.listen_address, spec.port), &spec.name)?;

        let log_position = EngineLog::new(&self.directory).position();
        let launch = self.launch(installation.program("postgres"), config);
        let process = Process::start(&launch, &self.directory)
            .map_err(|error| EngineError::transient_from("the server could not be started", error))?;
        let process = Arc::new(process);
        supervision.process = Some(process.clone());
        self.wait_until_ready(&process, log_position).await
    }

    async fn wait_until_ready(&self, process: &Process, log_position: u64) -> Result<(), EngineError> {
        let begin = Instant::now();
        let log = EngineLog::new(&self.directory);
        loop {
            let patience = match data::server_state(&self.directory, process.pid()).as_deref() {
                Some("ready" | "standby") => return Ok(()),
                Some(_) => RECOVERY_PATIENCE,
                None => APPEARANCE_PATIENCE,
            };
            if let Some(cause) = process.cause_of_end() {
                let lines = log.last_lines(EXPLAINING_LINES, log_position);
                return Err(EngineError::transient(format!("{cause} while it started, after it logged: {lines}")));
            }
            if begin.elapsed() > patience {
                let lines = log.last_lines(EXPLAINING_LINES, log_position);
                return Err(EngineError::transient(format!("it was not ready after {patience:?}; it logged: {lines}")));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    fn launch(&self, program: PathBuf, config: &PostgresqlConfig) -> Launch {
        Launch {
            program,
            arguments: vec!["-D".to_owned(), self.directory.data().to_string_lossy().into_owned()],
            environment: vec![
                ("LC_ALL", "C.UTF-8".to_owned()),
                ("TZ", "UTC".to_owned()),
                // The server itself is spared when memory runs out, its backends are not (PostgreSQL, 19.4.4).
                ("PG_OOM_ADJUST_FILE", "/proc/self/oom_score_adj".to_owned()),
                ("PG_OOM_ADJUST_VALUE", "0".to_owned()),
            ],
            user: config.user.clone(),
        }
    }
}

fn installation(config: &PostgresqlConfig, major: u32) -> Option<Installation> {
    install::installed(config.bin_dir.as_deref()).into_iter().find(|installation| installation.major == major)
}

fn wrong_major(config: &PostgresqlConfig, major: u32, data: &std::path::Path) -> EngineError {
    let installed = install::installed(config.bin_dir.as_deref());
    let versions = match installed.iter().map(|found| found.version.as_str()).collect::<Vec<_>>() {
        none if none.is_empty() => "none".to_owned(),
        versions => versions.join(", "),
    };
    EngineError::permanent(
        format!(
            "the data in {} belongs to PostgreSQL {major}, and the version installed here is {versions}",
            data.display()
        ),
        format!("install the version that it belongs to: apt-get install postgresql-{major}"),
    )
}

fn refuse_another(spec: &ClusterSpec, identity: &str) -> Result<(), EngineError> {
    match &spec.identity {
        Some(expected) if expected != identity => Err(EngineError::permanent(
            format!(
                "the data of cluster {} is that of another one (its system identifier is {identity} and should be \
                 {expected}), and it is not initialised anew",
                spec.name
            ),
            "put the right directory back or restore it from a backup",
        )),
        _ => Ok(()),
    }
}

/// Another program on the port would only show in the server's log. Between this look and the server's own the
/// port can be taken all the same; then the log tells.
fn refuse_taken_port(address: SocketAddr, cluster: &mainstay_types::ClusterName) -> Result<(), EngineError> {
    match TcpListener::bind(address) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Err(EngineError::permanent(
            format!(
                "port {} on {}, which cluster {cluster} listens on, is taken by another program",
                address.port(),
                address.ip()
            ),
            format!("stop that program (find it with: ss -ltnp 'sport = :{}')", address.port()),
        )),
        Err(error) => Err(EngineError::transient_from(format!("{address} can not be listened on"), error)),
    }
}
