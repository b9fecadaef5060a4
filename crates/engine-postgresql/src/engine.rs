//! The contract, put together from the parts.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use mainstay_engine::recovery::Recovery;
use mainstay_engine::supervise::{ClusterDirectory, Removals};
use mainstay_engine::{Availability, ClusterSpec, CredentialSpec, Engine, EngineError, InstanceSpec, Started};
use mainstay_types::{ClusterName, EngineName, Health, Observation, Offering};
use secrecy::{ExposeSecret, SecretString};

use crate::admin::failed;
use crate::cluster::Cluster;
use crate::config::PostgresqlConfig;
use crate::credential::{self, Wanted};
use crate::{data, install, instance, names, observe, offering};

/// A cluster that answers no query of ours for so long does not serve.
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);

/// Figures of a cluster, named as in the OpenTelemetry collector's PostgreSQL receiver, in the order of the query.
const FIGURES: [&str; 6] = [
    "postgresql.backends",
    "postgresql.connection.max",
    "postgresql.database.count",
    "postgresql.commits",
    "postgresql.rollbacks",
    "postgresql.deadlocks",
];

/// PostgreSQL on this machine.
#[derive(Debug)]
pub struct PostgresqlEngine {
    pub(crate) config: PostgresqlConfig,
    offering: Offering,
    clusters: Arc<Mutex<HashMap<ClusterName, Arc<Cluster>>>>,
    /// Of its scratch clusters.
    pub(crate) removals: Removals,
}

impl PostgresqlEngine {
    /// An engine that keeps its clusters where the configuration says. Nothing is started or read yet.
    pub fn new(config: PostgresqlConfig) -> Self {
        let offering = offering::offering(config.shared_port);
        Self { config, offering, clusters: Arc::default(), removals: Removals::default() }
    }

    pub(crate) fn cluster(&self, spec: &ClusterSpec) -> Arc<Cluster> {
        let mut clusters = self.clusters.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Cluster::new(&self.config, spec));
        clusters.entry(spec.name.clone()).or_insert_with(new).clone()
    }

    /// What the engine is called.
    pub(crate) fn name(&self) -> &EngineName {
        &self.offering.engine
    }

    /// The cluster, where it is in use.
    pub(crate) fn known(&self, name: &ClusterName) -> Option<Arc<Cluster>> {
        self.clusters.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// What uses a cluster no more, when it is called.
    pub(crate) fn forgetter(&self, name: &ClusterName) -> impl FnOnce() + Send + use<> {
        let (clusters, name) = (self.clusters.clone(), name.clone());
        move || drop(clusters.lock().unwrap_or_else(PoisonError::into_inner).remove(&name))
    }

    /// A cluster that has a process, so that asking its server makes sense.
    pub(crate) async fn running(&self, spec: &ClusterSpec) -> Result<Arc<Cluster>, EngineError> {
        let cluster = self.cluster(spec);
        match cluster.process(&self.config).await? {
            Some(_) => Ok(cluster),
            None => Err(EngineError::transient(format!("cluster {} does not run", spec.name))),
        }
    }

    async fn look(
        &self,
        spec: &ClusterSpec,
        cluster: &Cluster,
        instances: &[InstanceSpec],
        credentials: &[CredentialSpec],
    ) -> Result<Observation, sqlx::Error> {
        if instances.is_empty() && credentials.is_empty() {
            sqlx::query("SELECT 1").execute(cluster.admin.pool()).await?;
        }
        let before = cluster.verifiers.all();
        let databases = observe::databases(&cluster.admin, instances).await?;
        let roles = observe::roles(&cluster.admin, credentials).await?;
        let by_id: HashMap<_, _> = instances.iter().map(|instance| (&instance.id, instance)).collect();
        let judge = |credential: &CredentialSpec| {
            let username = credential.username();
            let found = roles.get(&username);
            let instance = by_id.get(&credential.instance);
            let wanted = instance.map(|instance| Wanted::of(spec.plan, instance, credential));
            let verifier = found.and_then(|role| role.verifier);
            let known = cluster.verifiers.known_throughout(&before, username, verifier);
            let observation = observe::credential_observation(credential, wanted.as_ref(), known, found);
            ((credential.binding.clone(), credential.generation), observation)
        };
        Ok(Observation {
            health: Health::Serving,
            credentials: credentials.iter().map(judge).collect(),
            instances: instances
                .iter()
                .map(|instance| {
                    let found = databases.get(&names::database(&instance.id));
                    (instance.id.clone(), observe::instance_presence(instance, found))
                })
                .collect(),
            changed_settings: data::changed_settings(&cluster.directory, &cluster.files(&self.config, spec))
                .into_iter()
                .chain(cluster.certificate_trouble(&self.config, spec))
                .collect(),
        })
    }
}

#[async_trait]
impl Engine for PostgresqlEngine {
    fn offering(&self) -> &Offering {
        &self.offering
    }

    fn host(&self) -> IpAddr {
        self.config.listen_address
    }

    async fn availability(&self) -> Availability {
        let bin_dir = self.config.bin_dir.clone();
        let looked = tokio::task::spawn_blocking(move || install::installed(bin_dir.as_deref())).await;
        match looked.unwrap_or_default().into_iter().next() {
            Some(installation) => Availability::Installed { version: installation.version },
            None => Availability::Missing {
                reason: match &self.config.bin_dir {
                    Some(bin) => format!("no PostgreSQL {} or newer in {}", install::OLDEST_MAJOR, bin.display()),
                    None => format!("no PostgreSQL {} or newer is installed", install::OLDEST_MAJOR),
                },
                remedy: install::INSTALL_REMEDY.to_owned(),
            },
        }
    }

    async fn start(&self, cluster: &ClusterSpec) -> Result<Started, EngineError> {
        self.cluster(cluster).start(&self.config, cluster).await
    }

    async fn ended(&self, cluster: &ClusterSpec) -> String {
        let cluster = self.cluster(cluster);
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
        let cluster = self.cluster(spec);
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

    async fn reconfigure(&self, spec: &ClusterSpec) -> Result<(), EngineError> {
        let cluster = self.running(spec).await?;
        cluster.renew_certificate(&self.config, spec).await?;
        data::configure(&cluster.directory, &cluster.files(&self.config, spec), &self.config.user)?;
        let attempt = || failed(format!("the settings of cluster {} could not be put in force", spec.name));
        for statement in ["ALTER SYSTEM RESET ALL", "SELECT pg_reload_conf()"] {
            cluster.admin.run(statement.to_owned()).await.map_err(attempt())?;
        }
        Ok(())
    }

    async fn stop(&self, cluster: &ClusterSpec) -> Result<(), EngineError> {
        self.cluster(cluster).stop(&self.config).await
    }

    async fn stop_all(&self) -> Vec<(ClusterName, EngineError)> {
        let stop = |name: ClusterName| async move {
            let cluster = self.known(&name).unwrap_or_else(|| Arc::new(Cluster::of_name(&self.config, &name)));
            Some((name, cluster.stop(&self.config).await.err()?))
        };
        let mut clusters = ClusterDirectory::names(&self.config.clusters_dir, self.name());
        clusters.extend(ClusterDirectory::scratch_names(&self.config.clusters_dir, self.name()));
        futures::future::join_all(clusters.into_iter().map(stop)).await.into_iter().flatten().collect()
    }

    async fn remove(&self, spec: &ClusterSpec) -> Result<(), EngineError> {
        let cluster = self.cluster(spec);
        cluster.stop(&self.config).await?;
        cluster.remove().await?;
        self.forgetter(&spec.name)();
        Ok(())
    }

    async fn provision(&self, cluster: &ClusterSpec, instance: &InstanceSpec) -> Result<(), EngineError> {
        instance::provision(&self.running(cluster).await?.admin, instance).await
    }

    async fn deprovision(&self, cluster: &ClusterSpec, instance: &InstanceSpec) -> Result<(), EngineError> {
        instance::deprovision(&self.running(cluster).await?.admin, instance).await
    }

    async fn bind(
        &self,
        spec: &ClusterSpec,
        instance: &InstanceSpec,
        credential: &CredentialSpec,
        password: &SecretString,
    ) -> Result<(), EngineError> {
        let cluster = self.running(spec).await?;
        cluster.verifiers.forget(&credential.username());
        let (admin, address) = (&cluster.admin, SocketAddr::new(self.config.listen_address, spec.port));
        let verifier = credential::bind(admin, address, spec.plan, instance, credential, password).await?;
        cluster.verifiers.remember(credential.username(), verifier);
        Ok(())
    }

    async fn unbind(&self, spec: &ClusterSpec, credential: &CredentialSpec) -> Result<(), EngineError> {
        let cluster = self.running(spec).await?;
        credential::unbind(&cluster.admin, credential).await?;
        cluster.verifiers.forget(&credential.username());
        Ok(())
    }

    fn delivery(
        &self,
        cluster: &ClusterSpec,
        _: &InstanceSpec,
        credential: &CredentialSpec,
        password: &SecretString,
    ) -> BTreeMap<&'static str, SecretString> {
        let (user, database) = (credential.username(), names::database(&credential.instance));
        let (address, port) = (self.config.listen_address, cluster.port);
        let authority = SocketAddr::new(address, port);
        let tls = offering::tls(&cluster.parameters);
        let verified = if tls { "?sslmode=verify-full" } else { "" };
        let uri = format!("postgresql://{user}:{}@{authority}/{database}{verified}", password.expose_secret());
        let certificate = self.config.authority.as_ref().filter(|_| tls).and_then(|authority| authority.certificate());
        let mut delivery = BTreeMap::from([
            ("type", "postgresql".into()),
            ("provider", "mainstay".into()),
            ("host", address.to_string().into()),
            ("port", port.to_string().into()),
            ("database", database.into()),
            ("username", user.into()),
            ("password", password.clone()),
            ("uri", uri.into()),
        ]);
        delivery.extend(certificate.map(|certificate| ("certificates", certificate.into())));
        delivery
    }

    async fn figures(&self, spec: &ClusterSpec) -> Result<Vec<(&'static str, f64)>, EngineError> {
        let cluster = self.running(spec).await?;
        let asking = sqlx::query_as::<_, (f64, f64, f64, f64, f64, f64)>(
            "SELECT sum(numbackends)::float8, current_setting('max_connections')::float8, \
             (count(*) FILTER (WHERE datname LIKE 'db\\_%'))::float8, \
             sum(xact_commit)::float8, sum(xact_rollback)::float8, sum(deadlocks)::float8 FROM pg_stat_database",
        )
        .fetch_one(cluster.admin.pool());
        let unanswered = || EngineError::transient(format!("cluster {} does not answer", spec.name));
        let row = tokio::time::timeout(ANSWER_PATIENCE, asking).await.map_err(|_| unanswered())?;
        let (a, b, c, d, e, f) = row.map_err(failed("the figures could not be read"))?;
        Ok(FIGURES.into_iter().zip([a, b, c, d, e, f]).collect())
    }

    fn recovery(&self) -> Option<&dyn Recovery> {
        Some(self)
    }
}
