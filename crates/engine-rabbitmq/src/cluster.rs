//! One cluster: its directory, its process, and our way to it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mainstay_engine::supervise::{
    ClusterDirectory, ClusterProcess, Launch, Machine, Process, Readiness, Signal, StopStep, Supervision, admin_secret,
    data_gone, refuse_another, refuse_taken_port,
};
use mainstay_engine::{CertificateFiles, ClusterSpec, EngineError, StartKind, Started};
use mainstay_types::ClusterName;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::{Api, failed};
use crate::config::RabbitmqConfig;
use crate::data::{self, DataDirectory};
use crate::install::Installation;
use crate::known::Known;
use crate::names::{MARKER, NODE, is_instance};
use crate::ports::Ports;
use crate::roster::Roster;
use crate::settings::{self, Files, Inputs};
use crate::{observe, password};

/// How long a new process may take until clients can connect: seconds, and minutes where a killed node reads through
/// all its messages.
const BOOT_PATIENCE: Duration = Duration::from_secs(900);
/// The orderly end, which writes down what is in memory; then force.
const STOP: [StopStep; 2] = [
    StopStep { signal: Signal::TERM, patience: Duration::from_secs(120) },
    StopStep { signal: Signal::KILL, patience: Duration::from_secs(10) },
];
/// What becomes the node. No node starts without an epmd, and the one that it would start itself outlives it; this one
/// gets a signal from the kernel when the node has ended, however that came.
const SCRIPT: &str = r#"setpriv --pdeathsig TERM epmd -address 127.0.0.1 -port "$ERL_EPMD_PORT" &
exec "$1""#;
/// Arguments for Erlang: the distribution on loopback alone, no shell to read from, certificates looked at again every ten
/// seconds instead of two minutes, and schedulers that sleep when there is nothing to do instead of spinning, which
/// other engines on the machine would pay for.
const ERLANG: &str = "-noinput -kernel inet_dist_use_interface {127,0,0,1} -ssl ssl_pem_cache_clean 10000 \
                      +sbwt none +sbwtdcpu none +sbwtdio none";

/// A cluster as this process knows it.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub directory: ClusterDirectory,
    pub roster: Roster,
    pub known: Known,
    process: ClusterProcess,
}

impl Cluster {
    /// The cluster, of which nothing is known yet.
    pub fn new(config: &RabbitmqConfig, name: &ClusterName) -> Self {
        let directory = ClusterDirectory::new(&config.clusters_dir, name);
        let process = ClusterProcess::new(directory.clone());
        Self { roster: Roster::new(directory.clone()), known: Known::default(), process, directory }
    }

    /// The running process, found if an earlier control plane started it.
    pub async fn process(&self, config: &RabbitmqConfig) -> Result<Option<Arc<Process>>, EngineError> {
        self.process.process(|| launch_of(config, Path::new(""), None, &self.directory)).await
    }

    /// Why it does not run, as far as that is known.
    pub async fn cause_of_end(&self) -> String {
        self.process.cause_of_end().await
    }

    /// The way to its node, which has to have been started.
    pub fn api(&self, config: &RabbitmqConfig) -> Result<Api, EngineError> {
        let ports = self.ports()?;
        Ok(Api::new(ports.management_address(), config.user.uid, &admin_secret(&self.directory)?))
    }

    /// The files that we want for the process that runs, or is about to.
    pub fn files(&self, config: &RabbitmqConfig, spec: &ClusterSpec) -> Result<Files, EngineError> {
        let secret = admin_secret(&self.directory)?;
        let inputs = Inputs {
            machine: Machine::look(&config.clusters_dir),
            listen_address: config.listen_address,
            port: spec.port,
            ports: self.ports()?,
            tls: config.authority.as_ref().map(|_| (config.tls_port, CertificateFiles::of(&self.directory))),
            directory: &data::settings(&self.directory),
            admin: &password::verifier(password::salt_of(&secret), &secret),
        };
        Ok(settings::render(&inputs))
    }

    /// Makes it serve.
    pub async fn start(&self, config: &RabbitmqConfig, spec: &ClusterSpec) -> Result<Started, EngineError> {
        let (how, missing) = self.run(config, spec).await?;
        let api = self.api(config)?;
        match self.prove(&api, spec, &missing).await {
            Ok(started) => Ok(Started { how, ..started }),
            // Permanent: it is not what it should be, and nobody should be served by it.
            Err(error @ EngineError::Permanent { .. }) => {
                self.stop(config).await?;
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Stops its process in order.
    pub async fn stop(&self, config: &RabbitmqConfig) -> Result<(), EngineError> {
        self.process.stop(|| launch_of(config, Path::new(""), None, &self.directory), &STOP).await
    }

    /// Removes everything of it but its process, which has to be stopped.
    pub async fn remove(&self) -> Result<(), EngineError> {
        self.process.remove().await
    }

    /// Sees to it that its process runs and takes clients; answers the virtual hosts whose messages were gone before.
    async fn run(
        &self,
        config: &RabbitmqConfig,
        spec: &ClusterSpec,
    ) -> Result<(StartKind, BTreeSet<String>), EngineError> {
        let mut supervision = self.process.supervise().await;
        let attached = supervision.attach(|| launch_of(config, Path::new(""), None, &self.directory))?;
        if let Some(process) = attached {
            let api = self.api(config)?;
            supervision.until_ready(&process, 0, |_| readiness(&api, spec)).await?;
            return Ok((StartKind::Adopted, BTreeSet::new()));
        }
        self.directory.prepare(&config.user)?;
        supervision.lock()?;
        let installation = Installation::find(config)?;
        let how = self.data_directory(config, spec)?;
        supervision.end_stragglers(&config.user).await?;
        let missing = match how {
            StartKind::Initialised => BTreeSet::new(),
            _ => self.roster.missing_among(&data::virtual_hosts_with_messages(&self.directory))?,
        };
        self.launch(&mut supervision, &installation, config, spec).await?;
        Ok((how, missing))
    }

    /// Sees to it that there is a data directory, and the right one.
    fn data_directory(&self, config: &RabbitmqConfig, spec: &ClusterSpec) -> Result<StartKind, EngineError> {
        let data = self.directory.data();
        match DataDirectory::look(&self.directory) {
            DataDirectory::Of { identity } => {
                refuse_another(&spec.name, spec.identity.as_deref(), "identity", &identity)?;
                self.roster.refuse_lost()?;
                match data::emptied(&self.directory) {
                    Some(gone) if spec.identity.is_some() => Err(data_gone(&spec.name, &gone)),
                    _ => Ok(StartKind::Started),
                }
            }
            DataDirectory::Foreign => Err(EngineError::permanent(
                format!(
                    "{} is not the data directory of a node of ours, and it is not initialised anew",
                    data.display()
                ),
                "restore it, or move it away when nothing in it is needed",
            )),
            DataDirectory::Missing if spec.identity.is_some() => Err(data_gone(&spec.name, &data)),
            DataDirectory::Missing => {
                data::initialise(&self.directory, &config.user)?;
                Ok(StartKind::Initialised)
            }
        }
    }

    async fn launch(
        &self,
        supervision: &mut Supervision<'_>,
        installation: &Installation,
        config: &RabbitmqConfig,
        spec: &ClusterSpec,
    ) -> Result<(), EngineError> {
        let (host, user) = (config.listen_address, &config.user);
        refuse_taken_port(SocketAddr::new(host, spec.port), &spec.name)?;
        if let Some(authority) = &config.authority {
            refuse_taken_port(SocketAddr::new(host, config.tls_port), &spec.name)?;
            CertificateFiles::renew(&self.directory, user, &spec.name, host, authority.as_ref()).await?;
        }
        let ports = Ports::draw()?;
        ports.write(&self.directory)?;
        data::configure(&self.directory, &self.files(config, spec)?, user)?;
        let launch = launch_of(config, &installation.server, Some(ports), &self.directory);
        let api = self.api(config)?;
        supervision.start(&launch, |_| readiness(&api, spec)).await.map(drop)
    }

    /// Refuses a node that has come back without what it had, and says which it is.
    async fn prove(&self, api: &Api, spec: &ClusterSpec, missing: &BTreeSet<String>) -> Result<Started, EngineError> {
        #[derive(Deserialize)]
        struct Overview {
            rabbitmq_version: String,
        }
        #[derive(Deserialize)]
        struct Parameter {
            value: Value,
        }
        let data = self.directory.data();
        let DataDirectory::Of { identity } = DataDirectory::look(&self.directory) else {
            return Err(data_gone(&spec.name, &data));
        };
        refuse_another(&spec.name, spec.identity.as_deref(), "identity", &identity)?;
        let unread = || failed(format!("what cluster {} holds could not be read", spec.name));
        let marker = format!("global-parameters/{MARKER}");
        match api.find::<Parameter>(&marker).await.map_err(unread())? {
            Some(Parameter { value }) => {
                let inside = value.get("identity").and_then(Value::as_str).unwrap_or_default();
                refuse_another(&spec.name, Some(&identity), "identity", inside)?;
            }
            None if spec.identity.is_some() => return Err(data_gone(&spec.name, &data.join("mnesia"))),
            None => {
                let value = json!({ "value": { "identity": identity } });
                api.put(&marker, &value).await.map_err(unread())?;
            }
        }
        let virtual_hosts = observe::virtual_hosts(api).await.map_err(unread())?;
        let present: BTreeSet<String> = virtual_hosts.into_keys().filter(|name| is_instance(name)).collect();
        let emptied: BTreeSet<String> = missing.intersection(&present).cloned().collect();
        self.roster.lose(&emptied).await?;
        self.roster.refuse_lost()?;
        self.roster.replace(present).await?;
        let overview: Overview = api.get("overview?columns=rabbitmq_version").await.map_err(unread())?;
        Ok(Started { identity, version: overview.rabbitmq_version, how: StartKind::Adopted })
    }

    fn ports(&self) -> Result<Ports, EngineError> {
        Ports::read(&self.directory).ok_or_else(|| {
            EngineError::permanent(
                format!("the ports of the node in {} are not known any more", self.directory.root().display()),
                "stop the cluster and start it again",
            )
        })
    }
}

/// Whether clients can connect; before that nobody has an account that works, ours included.
async fn readiness(api: &Api, spec: &ClusterSpec) -> Readiness {
    match api.check(&observe::listens(spec.port)).await {
        Ok(Ok(())) => Readiness::Ready,
        _ => Readiness::Within(BOOT_PATIENCE),
    }
}

/// How its process is started, where the ports are known; else as much as finds it again.
fn launch_of(config: &RabbitmqConfig, server: &Path, ports: Option<Ports>, directory: &ClusterDirectory) -> Launch {
    let data = directory.data();
    let path = |name: &str| data.join(name).to_string_lossy().into_owned();
    let mut environment = vec![
        ("LC_ALL", "C.UTF-8".to_owned()),
        ("HOME", path("home")),
        ("RABBITMQ_NODENAME", NODE.to_owned()),
        // None of these files exists: what the machine's own node reads in /etc/rabbitmq is not for ours.
        ("RABBITMQ_CONF_ENV_FILE", path("etc/none")),
        ("RABBITMQ_ADVANCED_CONFIG_FILE", path("etc/none.config")),
        ("RABBITMQ_CONFIG_FILE", path("etc/rabbitmq.conf")),
        ("RABBITMQ_ENABLED_PLUGINS_FILE", path("etc/enabled_plugins")),
        ("RABBITMQ_MNESIA_BASE", path("mnesia")),
        ("RABBITMQ_LOG_BASE", path("log")),
        ("RABBITMQ_GENERATED_CONFIG_DIR", path("generated")),
        ("RABBITMQ_SCHEMA_DIR", path("schema")),
        ("RABBITMQ_PID_FILE", path("log/node.pid")),
        ("RABBITMQ_LOGS", "-".to_owned()),
        // Erlang replaces the script instead of running below it, so that the process we know is the node.
        ("RABBITMQ_ALLOW_INPUT", "true".to_owned()),
        ("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", ERLANG.to_owned()),
        ("ERL_FLAGS", "-start_epmd false".to_owned()),
        ("ERL_EPMD_ADDRESS", "127.0.0.1".to_owned()),
        // A dump of the node's memory would hold messages and fill the disk.
        ("ERL_CRASH_DUMP_BYTES", "0".to_owned()),
    ];
    if let Some(ports) = ports {
        environment.push(("ERL_EPMD_PORT", ports.epmd.to_string()));
        environment.push(("RABBITMQ_DIST_PORT", ports.distribution.to_string()));
    }
    Launch {
        program: PathBuf::from("/bin/sh"),
        arguments: ["-c", SCRIPT, "rabbitmq"]
            .into_iter()
            .map(str::to_owned)
            .chain([server.display().to_string()])
            .collect(),
        environment,
        user: config.user.clone(),
    }
}
