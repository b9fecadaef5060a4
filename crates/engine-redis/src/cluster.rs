//! One cluster: its directory, its process, and our connection to it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mainstay_engine::supervise::{
    ClusterDirectory, ClusterProcess, Launch, Machine, Process, Readiness, Signal, StopStep, Supervision, admin_secret,
    data_gone, refuse_another, refuse_taken_port, write_derived_file,
};
use mainstay_engine::{CertificateFiles, ClusterSpec, EngineError, StartKind, Started, Verifiers};
use mainstay_types::{ClusterName, Plan};
use tokio::sync::Mutex;

use crate::admin::{Admin, failed, hashed};
use crate::config::RedisConfig;
use crate::copy::Copy;
use crate::data::{self, DataDirectory, Record};
use crate::info::Info;
use crate::install::{self, Version};
use crate::observe::Rules;
use crate::offering::{self, Persistence};
use crate::settings::{self, Inputs, Settings};
use crate::{gate, marker};

/// How long a new process may take until it answers.
const APPEARANCE_PATIENCE: Duration = Duration::from_secs(30);
/// How long it may read its data: the largest that is offered, from a slow disk.
const LOADING_PATIENCE: Duration = Duration::from_secs(900);
/// An orderly end puts the append-only file on disk; then force.
const STOP: [StopStep; 2] = [
    StopStep { signal: Signal::TERM, patience: Duration::from_secs(30) },
    StopStep { signal: Signal::KILL, patience: Duration::from_secs(10) },
];

/// A cluster as this process knows it.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub directory: ClusterDirectory,
    pub admin: Admin,
    pub verifiers: Verifiers,
    /// What credentials are allowed, in its server's words; none until that was asked.
    pub rules: Mutex<Option<Arc<Rules>>>,
    /// Since when it answers nobody; none while it does.
    silent: Mutex<Option<Instant>>,
    process: ClusterProcess,
}

impl Cluster {
    /// The cluster, of which nothing is known yet.
    pub fn new(config: &RedisConfig, name: &ClusterName) -> Self {
        let directory = ClusterDirectory::new(&config.clusters_dir, name);
        Self {
            admin: Admin::new(directory.clone()),
            process: ClusterProcess::new(directory.clone()),
            directory,
            verifiers: Verifiers::default(),
            rules: Mutex::default(),
            silent: Mutex::default(),
        }
    }

    /// The running process, found if an earlier control plane started it.
    pub async fn process(&self, config: &RedisConfig) -> Result<Option<Arc<Process>>, EngineError> {
        self.process.process(|| self.launch(config)).await
    }

    /// Why it does not run, as far as that is known.
    pub async fn cause_of_end(&self) -> String {
        self.process.cause_of_end().await
    }

    /// The settings that we want of its server.
    pub fn settings(&self, config: &RedisConfig, spec: &ClusterSpec) -> Settings {
        let certificate = offering::tls(spec.plan, &spec.parameters).then(|| CertificateFiles::of(&self.directory));
        Settings::of(&Inputs {
            cluster: spec,
            machine: Machine::look(&config.clusters_dir),
            listen_address: config.listen_address,
            socket: &Admin::socket(&self.directory),
            users: &self.directory.data().join(data::USERS),
            certificate: certificate.as_ref(),
        })
    }

    /// Notes whether its server answers, and ends one that is shared and has answered nobody for too long: one tenant's
    /// command keeps it from all others, and nothing that was acknowledged is lost. Answers whether it did.
    pub async fn end_if_silent(
        &self,
        config: &RedisConfig,
        spec: &ClusterSpec,
        answers: bool,
        process: &Process,
    ) -> bool {
        let mut silent = self.silent.lock().await;
        if answers {
            *silent = None;
            return false;
        }
        let since = *silent.get_or_insert_with(Instant::now);
        if spec.plan != Plan::Shared || since.elapsed() < config.patience.silence {
            return false;
        }
        tracing::warn!(cluster = %spec.name, "a shared server that one command has kept from everybody is ended");
        *silent = None;
        process.signal(Signal::KILL);
        true
    }

    /// Makes it serve.
    pub async fn start(&self, config: &RedisConfig, spec: &ClusterSpec) -> Result<Started, EngineError> {
        let mut supervision = self.process.supervise().await;
        let (process, how) = match supervision.attach(|| self.launch(config))? {
            Some(process) => {
                supervision.until_ready(&process, 0, |_| self.readiness()).await?;
                (process, StartKind::Adopted)
            }
            None => {
                settings::refuse_beyond_machine(spec, Machine::look(&config.clusters_dir))?;
                self.directory.socket("admin.sock")?;
                let (flavour, bin_dir) = (config.flavour, config.bin_dir.as_deref());
                let program =
                    install::program(flavour, bin_dir).ok_or_else(|| install::not_installed(flavour, bin_dir))?;
                self.directory.prepare(&config.user)?;
                supervision.lock()?;
                let how = self.data_directory(config, spec).await?;
                // Nothing of a dead server can work in a directory that is new.
                if how != StartKind::Initialised {
                    supervision.end_stragglers(&config.user).await?;
                }
                (self.launch_server(&mut supervision, program, config, spec).await?, how)
            }
        };
        match self.admit(config, spec).await {
            Ok((identity, version)) => Ok(Started { identity, version: version.to_string(), how }),
            // One that was just started has served nobody yet and must not be taken for one that does.
            Err(error) if how != StartKind::Adopted => {
                if let Err(error) = process.stop(&STOP).await {
                    tracing::warn!(cluster = %spec.name, %error, "a server that may not serve could not be stopped");
                }
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Looks at a server that answers, and opens it to its clients.
    async fn admit(&self, config: &RedisConfig, spec: &ClusterSpec) -> Result<(String, Version), EngineError> {
        let record = self.record(spec)?;
        refuse_another(&spec.name, spec.identity.as_deref(), "identity", &record.identity)?;
        let info = Info::ask(&self.admin).await?;
        let version = info.version(config.flavour).ok_or_else(|| {
            EngineError::permanent(
                format!("the server of cluster {} is not {}", spec.name, config.flavour.name()),
                "stop it with: mainstay down",
            )
        })?;
        let identity = record.identity.clone();
        // A copy that is being made holds another cluster's data, and is closed.
        if !info.is_replica() && !Copy::is_unfinished(&self.directory)? {
            self.verify_data(config, spec, record, &info).await?;
        }
        if !data::is_closed(&self.directory) {
            gate::open(&self.admin, spec).await?;
        }
        Ok((identity, version))
    }

    /// Sees to it that data that outlives its server is there, and shows that it is.
    pub async fn verify_data(
        &self,
        config: &RedisConfig,
        spec: &ClusterSpec,
        record: Record,
        info: &Info,
    ) -> Result<(), EngineError> {
        if offering::persistence(spec.plan, &spec.parameters) == Persistence::Cache {
            return Ok(());
        }
        let fsync = offering::fsync(spec.plan, &spec.parameters);
        match marker::read(&self.admin).await? {
            Some(found) => refuse_another(&spec.name, Some(&record.identity), "identity within the data", &found)?,
            None if record.marked && info.keys() == 0 => return Err(came_back_empty(spec, &self.directory)),
            None => marker::write(&self.admin, &record.identity, fsync).await?,
        }
        match record.marked {
            true => Ok(()),
            false => data::write_record(&self.directory, &record.marked(), &config.user),
        }
    }

    /// Which cluster's data it is.
    pub fn record(&self, spec: &ClusterSpec) -> Result<Record, EngineError> {
        match DataDirectory::look(&self.directory) {
            DataDirectory::Of(record) => Ok(record),
            DataDirectory::Missing | DataDirectory::Foreign => Err(data_gone(&spec.name, &self.directory.data())),
        }
    }

    /// Stops its process in order.
    pub async fn stop(&self, config: &RedisConfig) -> Result<(), EngineError> {
        self.process.stop(|| self.launch(config), &STOP).await?;
        self.forget().await;
        Ok(())
    }

    /// Removes everything of it but its process, which has to be stopped.
    pub async fn remove(&self) -> Result<(), EngineError> {
        self.process.remove().await
    }

    /// Ends its process at once and removes everything of it: for what nobody misses.
    pub async fn discard(&self, config: &RedisConfig) -> Result<(), EngineError> {
        self.process.stop(|| self.launch(config), &STOP[1..]).await?;
        self.forget().await;
        self.remove().await
    }

    /// Gives the data of a server that runs another identity.
    pub async fn rename(&self, config: &RedisConfig, spec: &ClusterSpec, identity: &str) -> Result<(), EngineError> {
        let record = self.record(spec)?.named(identity);
        if offering::persistence(spec.plan, &spec.parameters) == Persistence::Cache {
            return data::write_record(&self.directory, &record, &config.user);
        }
        marker::write(&self.admin, identity, offering::fsync(spec.plan, &spec.parameters)).await?;
        data::write_record(&self.directory, &record.marked(), &config.user)
    }

    /// Sees to it that the cluster has a certificate where it speaks TLS, and answers whether that is a new one.
    pub async fn renew_certificate(&self, config: &RedisConfig, spec: &ClusterSpec) -> Result<bool, EngineError> {
        if !offering::tls(spec.plan, &spec.parameters) {
            return Ok(false);
        }
        let authority = config.authority.as_deref().ok_or_else(|| {
            EngineError::permanent(
                format!("cluster {} is to speak TLS, and nobody issues certificates here", spec.name),
                "configure the certificate authority, or create the instance with tls=false",
            )
        })?;
        CertificateFiles::renew(&self.directory, &config.user, &spec.name, config.listen_address, authority).await
    }

    /// Sees to it that there is a data directory, and the right one.
    async fn data_directory(&self, config: &RedisConfig, spec: &ClusterSpec) -> Result<StartKind, EngineError> {
        let data = self.directory.data();
        match DataDirectory::look(&self.directory) {
            DataDirectory::Of(record) => {
                refuse_another(&spec.name, spec.identity.as_deref(), "identity", &record.identity)?;
                Ok(StartKind::Started)
            }
            DataDirectory::Foreign => Err(EngineError::permanent(
                format!(
                    "{} is not a whole data directory of a cluster, and it is not initialised anew",
                    data.display()
                ),
                "restore it, or move it away when nothing in it is needed",
            )),
            DataDirectory::Missing if spec.identity.is_some() => Err(data_gone(&spec.name, &data)),
            DataDirectory::Missing => {
                // The secret is drawn meanwhile: both wait for the same disk, and mostly for the same write of its file system's journal.
                let (directory, user) = (self.directory.clone(), config.user.clone());
                let initialised = tokio::task::spawn_blocking(move || data::initialise(&directory, &user));
                let directory = self.directory.clone();
                let drawn = tokio::task::spawn_blocking(move || admin_secret(&directory));
                let failed = |error| EngineError::transient_from("the data directory could not be made", error);
                let (initialised, drawn) = tokio::try_join!(initialised, drawn).map_err(failed)?;
                initialised.and(drawn).map(|_| StartKind::Initialised)
            }
        }
    }

    async fn launch_server(
        &self,
        supervision: &mut Supervision<'_>,
        program: PathBuf,
        config: &RedisConfig,
        spec: &ClusterSpec,
    ) -> Result<Arc<Process>, EngineError> {
        self.renew_certificate(config, spec).await?;
        let secret = admin_secret(&self.directory)?;
        data::prepare_users(&self.directory, &hashed(&secret), &config.user)?;
        let settings = self.settings(config, spec).render();
        write_derived_file(&self.directory.data(), data::SETTINGS, &settings, &config.user)?;
        refuse_taken_port(SocketAddr::new(config.listen_address, spec.port), &spec.name)?;
        self.forget().await;
        let started = supervision.start(&self.launch_of(program, config), |_| self.readiness()).await;
        started.map_err(|error| explained(error, config, spec))
    }

    /// Forgets what is true of a running server only.
    async fn forget(&self) {
        self.admin.forget().await;
        *self.rules.lock().await = None;
    }

    async fn readiness(&self) -> Readiness {
        match self.admin.query::<()>(&redis::cmd("PING")).await {
            Ok(()) => Readiness::Ready,
            Err(error) if error.code() == Some("LOADING") => Readiness::Within(LOADING_PATIENCE),
            Err(_) => Readiness::Within(APPEARANCE_PATIENCE),
        }
    }

    /// What its process was started as.
    fn launch(&self, config: &RedisConfig) -> Launch {
        let program = install::program(config.flavour, config.bin_dir.as_deref());
        self.launch_of(program.unwrap_or_default(), config)
    }

    fn launch_of(&self, program: PathBuf, config: &RedisConfig) -> Launch {
        Launch {
            program,
            arguments: vec![self.directory.data().join(data::SETTINGS).to_string_lossy().into_owned()],
            environment: vec![("LC_ALL", "C.UTF-8".to_owned()), ("TZ", "UTC".to_owned())],
            user: config.user.clone(),
        }
    }

    /// Makes a server read its certificate again: it does so when a setting of TLS becomes another one.
    pub async fn reload_certificate(&self) -> Result<(), EngineError> {
        for seconds in ["301", "300"] {
            let set = redis::cmd("CONFIG").arg("SET").arg("tls-session-cache-timeout").arg(seconds).clone();
            self.admin.query::<()>(&set).await.map_err(failed("the new certificate could not be put in force"))?;
        }
        Ok(())
    }
}

/// What a server that did not start lacks, where that can be told.
fn explained(error: EngineError, config: &RedisConfig, spec: &ClusterSpec) -> EngineError {
    let (flavour, bin_dir) = (config.flavour, config.bin_dir.as_deref());
    if is_built_without_tls(&error.to_string()) {
        return EngineError::permanent(
            format!("cluster {} is to speak TLS, and {} was built without TLS", spec.name, flavour.name()),
            "install a build with TLS, such as Debian's package, or create the instance with tls=false",
        );
    }
    match install::installed(flavour, bin_dir) {
        Some(_) => error,
        None => install::not_installed(flavour, bin_dir),
    }
}

/// Whether a server ended with this because it does not know what TLS is. Older versions take its settings for a mistake.
fn is_built_without_tls(logged: &str) -> bool {
    logged.contains("Failed finding TLS support") || (logged.contains("Bad directive") && logged.contains("tls-"))
}

fn came_back_empty(spec: &ClusterSpec, directory: &ClusterDirectory) -> EngineError {
    EngineError::permanent(
        format!(
            "the server of cluster {} came back empty: neither a key nor its identity was in {}, and it is not served as \
             if nothing had happened",
            spec.name,
            directory.data().join("appendonlydir").display()
        ),
        "put the append-only file back or restore it from a backup; to accept the loss, delete the cluster's instances",
    )
}

#[cfg(test)]
mod tests {
    use super::is_built_without_tls;

    #[test]
    fn a_build_without_tls_is_told_by_its_last_words() {
        for (logged, expected) in [
            ("# Missing implement of connection type tls | # Failed finding TLS support.", true),
            (">>> 'tls-cert-file \"/c/tls/server.crt\"' | Bad directive or wrong number of arguments", true),
            ("# Failed to load certificate: /c/tls/server.crt: error | # Failed to configure TLS", false),
            (">>> 'save' | Bad directive or wrong number of arguments", false),
        ] {
            assert_eq!(is_built_without_tls(logged), expected, "{logged}");
        }
    }
}
