//! The contract, put together from the parts.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use mainstay_engine::recovery::Recovery;
use mainstay_engine::supervise::{ClusterDirectory, Machine, Removals};
use mainstay_engine::{
    Availability, CertificateFiles, ClusterSpec, CredentialSpec, Engine, EngineError, InstanceSpec, Started,
};
use mainstay_types::{ClusterName, Health, Observation, Offering};
use secrecy::SecretString;

use crate::api::{Api, ApiError, failed};
use crate::cluster::Cluster;
use crate::config::RabbitmqConfig;
use crate::delivery::Endpoint;
use crate::install::{INSTALL_REMEDY, Installation};
use crate::names::virtual_host;
use crate::observe::Found;
use crate::offering::Limits;
use crate::{credential, data, figures, instance, observe, offering, recovery};

/// A node that does not answer for so long does not serve. Its lists take a second where there are thousands of users.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);

/// RabbitMQ on this machine.
#[derive(Debug)]
pub struct RabbitmqEngine {
    pub(crate) config: RabbitmqConfig,
    /// Of what restores and drills make for a while.
    pub(crate) removals: Removals,
    offering: Offering,
    clusters: Mutex<HashMap<ClusterName, Arc<Cluster>>>,
}

impl RabbitmqEngine {
    /// An engine that keeps its clusters where the configuration says. Nothing is started or read yet.
    pub fn new(config: RabbitmqConfig) -> Self {
        let offering = offering::offering(config.shared_port);
        Self { config, removals: Removals::default(), offering, clusters: Mutex::default() }
    }

    pub(crate) fn cluster(&self, name: &ClusterName) -> Arc<Cluster> {
        let mut clusters = self.clusters.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Cluster::new(&self.config, name));
        clusters.entry(name.clone()).or_insert_with(new).clone()
    }

    /// A cluster that has a process, so that asking its node makes sense.
    pub(crate) async fn running(&self, spec: &ClusterSpec) -> Result<(Arc<Cluster>, Api), EngineError> {
        let cluster = self.cluster(&spec.name);
        match cluster.process(&self.config).await? {
            Some(_) => {
                let api = cluster.api(&self.config)?;
                Ok((cluster, api))
            }
            None => Err(EngineError::transient(format!("cluster {} does not run", spec.name))),
        }
    }

    async fn look(
        &self,
        spec: &ClusterSpec,
        cluster: &Cluster,
        instances: &[InstanceSpec],
        credentials: &[CredentialSpec],
    ) -> Result<Observation, LookError> {
        let api = cluster.api(&self.config)?;
        let health = observe::health(&api, spec.port).await?;
        let before = cluster.known.verifiers.all();
        let until: Vec<_> =
            credentials.iter().map(|credential| cluster.known.valid_until(&credential.username())).collect();
        let found = Found::look(&api).await?;
        let limits: HashMap<_, _> =
            instances.iter().map(|instance| (&instance.id, Limits::of(&instance.parameters))).collect();
        let judge = |(credential, until): (&CredentialSpec, _)| {
            let username = credential.username();
            let verifier = found.verifier(&username);
            let known = cluster.known.verifiers.known_throughout(&before, username, verifier);
            let observation = found.credential(credential, limits.get(&credential.instance), known, until);
            ((credential.binding.clone(), credential.generation), observation)
        };
        Ok(Observation {
            health,
            instances: instances.iter().map(|instance| (instance.id.clone(), found.instance(instance))).collect(),
            credentials: credentials.iter().zip(until).map(judge).collect(),
            changed_settings: self.changed_settings(spec, cluster, &found)?,
        })
    }

    fn changed_settings(
        &self,
        spec: &ClusterSpec,
        cluster: &Cluster,
        found: &Found,
    ) -> Result<Vec<String>, EngineError> {
        let mut changes = data::changed_settings(&cluster.directory, &cluster.files(&self.config, spec)?);
        changes.extend(found.strangers().into_iter().map(|user| format!("the user {user} was added")));
        if let Some(authority) = &self.config.authority {
            let host = self.config.listen_address;
            changes.extend(CertificateFiles::renewal_reason(&cluster.directory, host, authority.as_ref()));
        }
        Ok(changes)
    }

    /// Refuses what this machine cannot do for an instance.
    fn refuse_impossible(&self, instance: &InstanceSpec) -> Result<(), EngineError> {
        if offering::tls(&instance.parameters) && self.config.authority.is_none() {
            return Err(EngineError::permanent(
                "tls=true needs certificates, and this installation has no authority that issues them",
                "create the instance without tls, or give the installation an authority",
            ));
        }
        let queue_mib = Limits::of(&instance.parameters).queue_bytes >> 20;
        let disk_mib = Machine::look(&self.config.clusters_dir).disk_mib;
        if queue_mib > disk_mib {
            return Err(EngineError::permanent(
                format!("max_queue_mib={queue_mib} is more than the disk of this machine, which has {disk_mib} MiB"),
                format!("choose at most {disk_mib}"),
            ));
        }
        Ok(())
    }
}

/// Why a cluster could not be looked at.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error(transparent)]
    Engine(#[from] EngineError),
}

#[async_trait]
impl Engine for RabbitmqEngine {
    fn offering(&self) -> &Offering {
        &self.offering
    }

    fn host(&self) -> IpAddr {
        self.config.listen_address
    }

    async fn availability(&self) -> Availability {
        let config = self.config.clone();
        let looked = tokio::task::spawn_blocking(move || Installation::find(&config)).await;
        match looked {
            Ok(Ok(installation)) => Availability::Installed { version: installation.version },
            Ok(Err(missing)) => Availability::Missing { reason: missing.reason, remedy: INSTALL_REMEDY.to_owned() },
            Err(error) => Availability::Missing { reason: error.to_string(), remedy: INSTALL_REMEDY.to_owned() },
        }
    }

    async fn start(&self, spec: &ClusterSpec) -> Result<Started, EngineError> {
        self.cluster(&spec.name).start(&self.config, spec).await
    }

    async fn ended(&self, spec: &ClusterSpec) -> String {
        let cluster = self.cluster(&spec.name);
        match cluster.process(&self.config).await {
            Ok(Some(process)) => process.ended().await,
            Ok(None) => cluster.cause_of_end().await,
            Err(error) => error.to_string(),
        }
    }

    async fn observe(
        &self,
        spec: &ClusterSpec,
        instances: &[InstanceSpec],
        credentials: &[CredentialSpec],
    ) -> Result<Observation, EngineError> {
        let cluster = self.cluster(&spec.name);
        if cluster.process(&self.config).await?.is_none() {
            let cause = cluster.cause_of_end().await;
            return Ok(Observation::without_service(Health::Down { cause }));
        }
        let looking = self.look(spec, &cluster, instances, credentials);
        let health = match tokio::time::timeout(ANSWER_PATIENCE, looking).await {
            Ok(Ok(observation)) => return Ok(observation),
            // It may have ended while it was asked.
            _ if cluster.process(&self.config).await?.is_none() => Health::Down { cause: cluster.cause_of_end().await },
            Ok(Err(error)) => Health::Unresponsive { reason: error.to_string() },
            Err(_) => Health::Unresponsive { reason: format!("it did not answer within {ANSWER_PATIENCE:?}") },
        };
        Ok(Observation::without_service(health))
    }

    /// The files are in force from the next start on, the certificate for connections that are made
    /// ten seconds later, and users that nobody of ours made are removed at once.
    async fn reconfigure(&self, spec: &ClusterSpec) -> Result<(), EngineError> {
        let (cluster, api) = self.running(spec).await?;
        if let Some(authority) = &self.config.authority {
            let (user, host) = (&self.config.user, self.config.listen_address);
            CertificateFiles::renew(&cluster.directory, user, &spec.name, host, authority.as_ref()).await?;
        }
        data::configure(&cluster.directory, &cluster.files(&self.config, spec)?, &self.config.user)?;
        let attempt = || failed(format!("the settings of cluster {} could not be put in force", spec.name));
        let found = Found::look(&api).await.map_err(attempt())?;
        let strangers = found.strangers();
        if !strangers.is_empty() {
            let users = serde_json::json!({ "users": strangers });
            api.post("users/bulk-delete", &users).await.map_err(attempt())?;
        }
        Ok(())
    }

    async fn stop(&self, spec: &ClusterSpec) -> Result<(), EngineError> {
        self.cluster(&spec.name).stop(&self.config).await
    }

    async fn stop_all(&self) -> Vec<(ClusterName, EngineError)> {
        let stop = |name: ClusterName| async move {
            let stopped = self.cluster(&name).stop(&self.config).await;
            Some((name, stopped.err()?))
        };
        let clusters = ClusterDirectory::names(&self.config.clusters_dir, &self.offering.engine);
        futures::future::join_all(clusters.into_iter().map(stop)).await.into_iter().flatten().collect()
    }

    async fn remove(&self, spec: &ClusterSpec) -> Result<(), EngineError> {
        let cluster = self.cluster(&spec.name);
        cluster.stop(&self.config).await?;
        cluster.remove().await?;
        self.clusters.lock().unwrap_or_else(PoisonError::into_inner).remove(&spec.name);
        Ok(())
    }

    async fn provision(&self, spec: &ClusterSpec, instance: &InstanceSpec) -> Result<(), EngineError> {
        self.refuse_impossible(instance)?;
        let (cluster, api) = self.running(spec).await?;
        if offering::tls(&instance.parameters) {
            let listens = api.check(&observe::listens(self.config.tls_port)).await;
            if listens.map_err(failed("the node's listeners could not be looked at"))?.is_err() {
                return Err(EngineError::permanent(
                    format!("cluster {} was started without TLS, before there was an authority", spec.name),
                    "stop the cluster and start it again",
                ));
            }
        }
        instance::provision(&api, instance).await?;
        cluster.roster.add(&virtual_host(&instance.id)).await
    }

    async fn deprovision(&self, spec: &ClusterSpec, instance: &InstanceSpec) -> Result<(), EngineError> {
        let (cluster, api) = self.running(spec).await?;
        cluster.roster.remove(&virtual_host(&instance.id)).await?;
        instance::deprovision(&api, instance).await?;
        recovery::open(&cluster.directory, &instance.id)
    }

    async fn bind(
        &self,
        spec: &ClusterSpec,
        instance: &InstanceSpec,
        credential: &CredentialSpec,
        password: &SecretString,
    ) -> Result<(), EngineError> {
        let (cluster, api) = self.running(spec).await?;
        if recovery::users_of_closed(&cluster.directory, &instance.id)?.is_some() {
            return Err(EngineError::permanent(
                format!("instance {} has half of its contents, because a restore did not come to its end", instance.id),
                "restore it again",
            ));
        }
        cluster.known.forget(&credential.username());
        let verifier = credential::bind(&api, instance, credential, password).await?;
        cluster.known.remember(credential.username(), &verifier, credential.valid_until);
        Ok(())
    }

    async fn unbind(&self, spec: &ClusterSpec, credential: &CredentialSpec) -> Result<(), EngineError> {
        let (cluster, api) = self.running(spec).await?;
        credential::unbind(&api, credential).await?;
        cluster.known.forget(&credential.username());
        Ok(())
    }

    fn delivery(
        &self,
        spec: &ClusterSpec,
        instance: &InstanceSpec,
        credential: &CredentialSpec,
        password: &SecretString,
    ) -> BTreeMap<&'static str, SecretString> {
        let host = self.config.listen_address;
        let endpoint = match &self.config.authority {
            Some(authority) if offering::tls(&instance.parameters) => {
                Endpoint { host, port: self.config.tls_port, tls: Some(authority.certificate()) }
            }
            _ => Endpoint { host, port: spec.port, tls: None },
        };
        crate::delivery::delivery(endpoint, instance, credential, password)
    }

    fn recovery(&self) -> Option<&dyn Recovery> {
        Some(self)
    }

    async fn figures(&self, spec: &ClusterSpec) -> Result<Vec<(&'static str, f64)>, EngineError> {
        let (_, api) = self.running(spec).await?;
        let unanswered = || EngineError::transient(format!("cluster {} does not answer", spec.name));
        let figures = tokio::time::timeout(ANSWER_PATIENCE, figures::read(&api)).await.map_err(|_| unanswered())?;
        figures.map_err(failed("the figures could not be read"))
    }
}
