//! One cluster: its directory, its process, and our connections to it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mainstay_engine::supervise::{
    ClusterDirectory, ClusterProcess, Launch, Machine, Process, Readiness, Signal, StopStep, Supervision, data_gone,
    refuse_another, refuse_taken_port,
};
use mainstay_engine::{CertificateFiles, ClusterSpec, EngineError, StartKind, Started, Verifiers};
use mainstay_types::ClusterName;

use crate::admin::{Admin, failed};
use crate::config::PostgresqlConfig;
use crate::data::{self, DataDirectory, Files};
use crate::install::{self, Installation};
use crate::settings::{self, Inputs};
use crate::{hba, offering, template};

/// How long a new process may take until it says that it starts.
const APPEARANCE_PATIENCE: Duration = Duration::from_secs(30);
/// How long a process that says it starts may take: it replays the write-ahead log, of which there can be more
/// than `max_wal_size` when the disk is slow.
pub(crate) const RECOVERY_PATIENCE: Duration = Duration::from_secs(900);
/// Fast shutdown, then the immediate one, from which the server recovers; then force.
const STOP: [StopStep; 3] = [
    StopStep { signal: Signal::INT, patience: Duration::from_secs(30) },
    StopStep { signal: Signal::QUIT, patience: Duration::from_secs(10) },
    StopStep { signal: Signal::KILL, patience: Duration::from_secs(10) },
];

/// When a server that starts is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ready {
    Answers,
    /// It has gone through its log and stands for itself. Until then one that lets nobody in says that it is a standby.
    Recovered {
        within: Duration,
    },
}

/// A cluster as this process knows it.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub directory: ClusterDirectory,
    pub admin: Admin,
    pub verifiers: Verifiers,
    /// Held by whoever restores an instance.
    pub restoring: tokio::sync::Mutex<()>,
    process: ClusterProcess,
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
        let process = ClusterProcess::new(directory.clone());
        Self { directory, admin, verifiers: Verifiers::default(), restoring: tokio::sync::Mutex::default(), process }
    }

    /// The programs of the version that its data belongs to.
    pub fn installation(&self, config: &PostgresqlConfig) -> Result<Installation, EngineError> {
        let data = self.directory.data();
        match DataDirectory::look(&self.directory) {
            DataDirectory::Of { major } => installation(config, major).ok_or_else(|| wrong_major(config, major, &data)),
            _ => Err(EngineError::transient(format!("there is no data in {}", data.display()))),
        }
    }

    /// The running process, found if an earlier control plane started it.
    pub async fn process(&self, config: &PostgresqlConfig) -> Result<Option<Arc<Process>>, EngineError> {
        self.process.process(|| self.launch(config)).await
    }

    /// Why it does not run, as far as that is known.
    pub async fn cause_of_end(&self) -> String {
        self.process.cause_of_end().await
    }

    /// The files that we want in its data directory.
    pub fn files(&self, config: &PostgresqlConfig, spec: &ClusterSpec) -> Files {
        let certificate = offering::tls(&spec.parameters).then(|| CertificateFiles::of(&self.directory));
        let inputs = Inputs {
            cluster: spec,
            machine: Machine::look(&config.clusters_dir),
            listen_address: config.listen_address,
            socket_directory: &self.directory.run(),
            certificate: certificate.as_ref(),
        };
        let mut networks = vec![config.listen_address.into()];
        networks.extend(&config.client_networks);
        [
            ("postgresql.conf", settings::render(&inputs)),
            ("pg_hba.conf", hba::access(&networks, certificate.is_some())),
            ("pg_ident.conf", hba::identities(&local_users(config))),
        ]
    }

    /// The same of a scratch cluster, whose settings these are: nobody comes over a network.
    pub fn scratch_files(&self, config: &PostgresqlConfig, settings: String) -> Files {
        [
            ("postgresql.conf", settings),
            ("pg_hba.conf", hba::access(&[], false)),
            ("pg_ident.conf", hba::identities(&local_users(config))),
        ]
    }

    /// Sees to it that a server which speaks TLS has a certificate with a good part of its life ahead.
    pub async fn renew_certificate(&self, config: &PostgresqlConfig, spec: &ClusterSpec) -> Result<(), EngineError> {
        if !offering::tls(&spec.parameters) {
            return Ok(());
        }
        let authority = config.authority.as_deref().ok_or_else(|| {
            EngineError::permanent(
                format!("cluster {} is to speak TLS, and nobody issues certificates here", spec.name),
                "create the instance without tls=true",
            )
        })?;
        let (directory, host) = (&self.directory, config.listen_address);
        CertificateFiles::renew(directory, &config.user, &spec.name, host, authority).await.map(drop)
    }

    /// Why a server which speaks TLS needs another certificate.
    pub fn certificate_trouble(&self, config: &PostgresqlConfig, spec: &ClusterSpec) -> Option<String> {
        let authority = config.authority.as_deref().filter(|_| offering::tls(&spec.parameters))?;
        CertificateFiles::renewal_reason(&self.directory, config.listen_address, authority)
    }

    /// Makes it serve.
    pub async fn start(&self, config: &PostgresqlConfig, spec: &ClusterSpec) -> Result<Started, EngineError> {
        let mut supervision = self.process.supervise().await;
        let how = match supervision.attach(|| self.launch(config))? {
            Some(process) => {
                supervision.until_ready(&process, 0, |pid| async move { self.readiness(pid, Ready::Answers) }).await?;
                StartKind::Adopted
            }
            None => {
                self.directory.socket(&format!(".s.PGSQL.{}.lock", spec.port))?;
                self.directory.prepare(&config.user)?;
                supervision.lock()?;
                let (installation, how) = self.data_directory(config, spec).await?;
                self.renew_certificate(config, spec).await?;
                refuse_taken_port(SocketAddr::new(config.listen_address, spec.port), &spec.name)?;
                let files = self.files(config, spec);
                self.launch_server(&mut supervision, &installation, config, &files, Ready::Answers).await?;
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
        refuse_another(&spec.name, spec.identity.as_deref(), "system identifier", &identity)?;
        Ok(Started { identity, version, how })
    }

    /// Stops its process in order.
    pub async fn stop(&self, config: &PostgresqlConfig) -> Result<(), EngineError> {
        self.process.stop(|| self.launch(config), &STOP).await
    }

    /// Ends its process, and does not wait until what it holds is on disk: its data is not needed any more.
    pub async fn stop_at_once(&self, config: &PostgresqlConfig) -> Result<(), EngineError> {
        self.process.stop(|| self.launch(config), &STOP[1..]).await
    }

    /// Removes everything of it but its process, which has to be stopped.
    pub async fn remove(&self) -> Result<(), EngineError> {
        self.admin.pool().close().await;
        self.process.remove().await
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
                    refuse_another(&spec.name, spec.identity.as_deref(), "system identifier", &identity)?;
                }
                Ok((installation, StartKind::Started))
            }
            DataDirectory::Foreign => Err(EngineError::permanent(
                format!("{} is not a whole PostgreSQL data directory, and it is not initialised anew", data.display()),
                "restore it, or move it away when nothing in it is needed",
            )),
            DataDirectory::Missing if spec.identity.is_some() => Err(data_gone(&spec.name, &data)),
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

    /// Takes a cluster for this control plane whose directory is new, or was left behind.
    pub async fn claim(&self, config: &PostgresqlConfig) -> Result<(), EngineError> {
        self.directory.prepare(&config.user)?;
        self.process.supervise().await.lock()
    }

    /// Starts the server of a scratch cluster with these files, and waits until it has gone through its log.
    pub async fn start_scratch(
        &self,
        config: &PostgresqlConfig,
        files: &Files,
        patience: Duration,
    ) -> Result<(), EngineError> {
        let installation = self.installation(config)?;
        let mut supervision = self.process.supervise().await;
        self.launch_server(&mut supervision, &installation, config, files, Ready::Recovered { within: patience }).await
    }

    /// Sends its server a signal, where it runs and nobody is about to start or stop it.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    async fn launch_server(
        &self,
        supervision: &mut Supervision<'_>,
        installation: &Installation,
        config: &PostgresqlConfig,
        files: &Files,
        ready: Ready,
    ) -> Result<(), EngineError> {
        supervision.end_stragglers(&config.user).await?;
        data::configure(&self.directory, files, &config.user)?;
        data::remove_stale_locks(&self.directory)
            .map_err(|error| EngineError::transient_from("the locks of the dead server could not be removed", error))?;
        let launch = self.launch_of(installation.program("postgres"), config);
        let readiness = |pid| async move { self.readiness(pid, ready) };
        supervision.start(&launch, readiness).await.map(drop)
    }

    fn readiness(&self, pid: i32, ready: Ready) -> Readiness {
        match data::server_state(&self.directory, pid).as_deref() {
            Some("ready") => Readiness::Ready,
            Some("standby") if ready == Ready::Answers => Readiness::Ready,
            Some(_) => Readiness::Within(match ready {
                Ready::Answers => RECOVERY_PATIENCE,
                Ready::Recovered { within } => within,
            }),
            None => Readiness::Within(APPEARANCE_PATIENCE),
        }
    }

    /// What its process was started as, as far as that can be told from its data.
    fn launch(&self, config: &PostgresqlConfig) -> Launch {
        let program = match DataDirectory::look(&self.directory) {
            DataDirectory::Of { major } => installation(config, major).map(|found| found.program("postgres")),
            _ => None,
        };
        self.launch_of(program.unwrap_or_default(), config)
    }

    fn launch_of(&self, program: PathBuf, config: &PostgresqlConfig) -> Launch {
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

/// Who may be the superuser over the Unix socket. Where we do not run as the engine's user, we are root.
fn local_users(config: &PostgresqlConfig) -> Vec<&str> {
    let root = rustix::process::geteuid().is_root().then_some("root");
    std::iter::once(config.user.name.as_str()).chain(root).collect()
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
