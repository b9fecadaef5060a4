//! One cluster: its directory, its process, and what it is asked.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::ConnectErrorKind;
use mainstay_engine::supervise::{
    ClusterDirectory, ClusterProcess, EngineLog, Launch, Process, Readiness, Signal, StopStep, Supervision,
    admin_secret, refuse_taken_port,
};
use mainstay_engine::{CertificateFiles, ClusterSpec, EngineError, StartKind, Started};
use mainstay_types::{ClusterName, InstanceId};
use secrecy::SecretString;

use crate::admin::{Admin, AdminError};
use crate::config::NatsConfig;
use crate::identity::{self, Data};
use crate::install;
use crate::names;
use crate::register::Register;
use crate::render::FILE;
use crate::streams::{self, Streams};

/// How long a server may take until it answers: it reads all streams first, of which there can be many gigabytes on a
/// slow disk.
const START_PATIENCE: Duration = Duration::from_secs(600);
/// In order, which writes what is in memory; then force, after which the server reads its streams anew.
const STOP: [StopStep; 2] = [
    StopStep { signal: Signal::INT, patience: Duration::from_secs(30) },
    StopStep { signal: Signal::KILL, patience: Duration::from_secs(10) },
];

/// A cluster as this process knows it.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub name: ClusterName,
    pub config: Arc<NatsConfig>,
    pub directory: ClusterDirectory,
    pub address: SocketAddr,
    pub admin: Admin,
    pub register: Register,
    process: ClusterProcess,
    /// Streams that were on disk before the server started, and that it did not bring back.
    lost: Mutex<Streams>,
}

impl Cluster {
    /// The cluster, of which nothing is known yet.
    pub fn new(config: &Arc<NatsConfig>, name: &ClusterName, port: u16) -> Self {
        let directory = ClusterDirectory::new(&config.clusters_dir, name);
        let address = SocketAddr::new(config.listen_address, port);
        Self {
            name: name.clone(),
            config: config.clone(),
            address,
            admin: Admin::new(address, config.user.uid),
            register: Register::default(),
            process: ClusterProcess::new(directory.clone()),
            directory,
            lost: Mutex::default(),
        }
    }

    /// The running process, found if an earlier control plane started it.
    pub async fn process(&self) -> Result<Option<Arc<Process>>, EngineError> {
        self.process.process(|| self.launch()).await
    }

    /// The process, of a cluster that has to run.
    pub async fn running(&self) -> Result<Arc<Process>, EngineError> {
        let process = self.process().await?;
        process.ok_or_else(|| EngineError::transient(format!("cluster {} does not run", self.name)))
    }

    /// Why it does not run, as far as that is known.
    pub async fn cause_of_end(&self) -> String {
        self.process.cause_of_end().await
    }

    /// What we prove to the server who we are with.
    pub fn secret(&self) -> Result<SecretString, EngineError> {
        admin_secret(&self.directory)
    }

    /// The account of an instance.
    pub fn account(&self, instance: &InstanceId) -> Result<String, EngineError> {
        Ok(names::account(&self.secret()?, instance))
    }

    /// Makes it serve.
    pub async fn start(&self, spec: &ClusterSpec) -> Result<Started, EngineError> {
        let mut supervision = self.process.supervise().await;
        if let Some(process) = supervision.attach(|| self.launch())? {
            identity::look(&self.directory, spec, &names::keeper(&self.secret()?))?;
            // A server that has not come so far that it answers would be ended by the signal to read its file.
            supervision.until_ready(&process, 0, |_| self.readiness()).await?;
            self.certify().await?;
            // What was written and not read any more when the control plane before ended is read now.
            self.register.put_in_force_anew(self, &process).await?;
            let identity = identity::served(&self.admin, &self.secret()?, spec, &self.directory).await?;
            let version = self.admin.server(&self.secret()?).await?.version;
            return Ok(Started { identity, version, how: StartKind::Adopted });
        }
        self.directory.prepare(&self.config.user)?;
        supervision.lock()?;
        self.begin(&mut supervision, spec).await
    }

    /// Stops its process in order.
    pub async fn stop(&self) -> Result<(), EngineError> {
        self.process.stop(|| self.launch(), &STOP).await?;
        self.admin.disconnect().await;
        Ok(())
    }

    /// Removes everything of it but its process, which has to be stopped.
    pub async fn remove(&self) -> Result<(), EngineError> {
        self.process.remove().await
    }

    /// Ends its process at once and removes everything of it: for what nobody misses.
    pub async fn discard(&self) -> Result<(), EngineError> {
        self.process.stop(|| self.launch(), &STOP[1..]).await?;
        self.admin.disconnect().await;
        self.remove().await
    }

    /// Sees to it that it has a certificate, where there is who issues one. Answers whether that is a new one.
    pub async fn certify(&self) -> Result<bool, EngineError> {
        let Some(authority) = &self.config.authority else { return Ok(false) };
        let (user, host) = (&self.config.user, self.config.listen_address);
        CertificateFiles::renew(&self.directory, user, &self.name, host, authority.as_ref()).await
    }

    /// Whether its server can prove who it is, and so offers TLS.
    pub fn is_certified(&self) -> bool {
        self.config.authority.is_some() && CertificateFiles::of(&self.directory).certificate.exists()
    }

    /// Why it needs a new certificate; none while it does not.
    pub fn renewal_reason(&self) -> Option<String> {
        let authority = self.config.authority.as_ref()?;
        CertificateFiles::renewal_reason(&self.directory, self.config.listen_address, authority.as_ref())
    }

    /// The streams of an account that were on disk before the server started, and that it has not brought back. Those
    /// that were made anew or moved away meanwhile are no longer among them.
    pub async fn lost_streams(&self, account: &str) -> Result<BTreeSet<String>, EngineError> {
        let lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner).get(account).cloned();
        let Some(mut lost) = lost else { return Ok(BTreeSet::new()) };
        let served = self.admin.streams_of(&self.secret()?, account).await?;
        lost.retain(|stream| !served.contains(stream) && streams::is_on_disk(&self.directory.data(), account, stream));
        Ok(lost)
    }

    /// Starts a process on the data, which has to be the cluster's.
    async fn begin(&self, supervision: &mut Supervision<'_>, spec: &ClusterSpec) -> Result<Started, EngineError> {
        let installation = install::installed(self.config.bin_dir.as_deref())
            .map_err(|reason| EngineError::permanent(reason, install::INSTALL_REMEDY))?;
        let keeper = names::keeper(&self.secret()?);
        let how = match identity::look(&self.directory, spec, &keeper)? {
            Data::Of { .. } => StartKind::Started,
            Data::New => {
                self.directory.make_empty("data", &self.config.user)?;
                StartKind::Initialised
            }
        };
        supervision.end_stragglers(&self.config.user).await?;
        self.certify().await?;
        refuse_taken_port(self.address, &self.name)?;
        let before = streams::on_disk(&self.directory.data());
        self.admin.disconnect().await;
        self.admin.expect_version(&installation.version);
        self.register.prepare(self).await?;
        let process = supervision.start(&self.launch_of(installation.program), |_| self.readiness()).await?;
        match self.verify(spec, &keeper, before).await {
            Ok(started) => Ok(Started { how, ..started }),
            Err(error) => {
                // Nobody is to write to a server that is not what it should be.
                if let Err(error) = process.stop(&STOP).await {
                    tracing::warn!(cluster = %self.name, %error, "a server that is refused could not be stopped");
                }
                Err(error)
            }
        }
    }

    /// Sees whether the server has what was on disk before it started.
    async fn verify(&self, spec: &ClusterSpec, keeper: &str, before: Streams) -> Result<Started, EngineError> {
        let secret = self.secret()?;
        let identity = identity::served(&self.admin, &secret, spec, &self.directory).await?;
        let known: BTreeSet<String> = self.admin.accounts(&secret).await?.into_iter().collect();
        let mut lost = Streams::new();
        for (account, mut streams) in before {
            // What is left of an account that nobody comes into is nobody's loss.
            if streams.is_empty() || account == keeper || !known.contains(&account) {
                continue;
            }
            let served = self.admin.streams_of(&secret, &account).await?;
            streams.retain(|stream| {
                !served.contains(stream) && streams::is_on_disk(&self.directory.data(), &account, stream)
            });
            if !streams.is_empty() {
                tracing::error!(cluster = %self.name, ?streams, "streams that are on disk were not brought back");
                lost.insert(account, streams);
            }
        }
        *self.lost.lock().unwrap_or_else(PoisonError::into_inner) = lost;
        let version = self.admin.server(&secret).await?.version;
        Ok(Started { identity, version, how: StartKind::Started })
    }

    async fn readiness(&self) -> Readiness {
        let Ok(secret) = self.secret() else { return Readiness::Within(START_PATIENCE) };
        match self.admin.server(&secret).await {
            Ok(_) => Readiness::Ready,
            // It answers. Who we are it finds in the file that it reads next.
            Err(AdminError::Connect { source, .. }) if source.kind() == ConnectErrorKind::AuthorizationViolation => {
                Readiness::Ready
            }
            Err(_) => Readiness::Within(START_PATIENCE),
        }
    }

    /// The log, to tell why the server refused something.
    pub fn log(&self) -> EngineLog {
        EngineLog::new(&self.directory)
    }

    /// What its process was started as.
    fn launch(&self) -> Launch {
        let program = install::installed(self.config.bin_dir.as_deref()).map(|found| found.program);
        self.launch_of(program.unwrap_or_default())
    }

    fn launch_of(&self, program: PathBuf) -> Launch {
        Launch {
            program,
            arguments: vec!["--config".to_owned(), self.directory.data().join(FILE).to_string_lossy().into_owned()],
            environment: Vec::new(),
            user: self.config.user.clone(),
        }
    }
}
