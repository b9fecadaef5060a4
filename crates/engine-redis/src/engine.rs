//! The contract, put together from the parts.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use mainstay_engine::recovery::Recovery;
use mainstay_engine::supervise::{ClusterDirectory, Removals, write_derived_file};
use mainstay_engine::{
    Availability, ClusterSpec, CredentialSpec, Engine, EngineError, Following, InstanceSpec, Started,
};
use mainstay_types::{ClusterName, Health, Observation, Offering, Plan};
use secrecy::{ExposeSecret, SecretString};

use crate::admin::failed;
use crate::cluster::Cluster;
use crate::config::RedisConfig;
use crate::copy::Copy;
use crate::info::Info;
use crate::{credential, data, figures, gate, install, instance, observe, offering, rights, takeover};

/// Redis or Valkey on this machine.
#[derive(Debug)]
pub struct RedisEngine {
    pub(crate) config: RedisConfig,
    /// Of the scratch clusters that restores and drills make.
    pub(crate) removals: Removals,
    offering: Offering,
    clusters: Mutex<HashMap<ClusterName, Arc<Cluster>>>,
}

impl RedisEngine {
    /// An engine that keeps its clusters where the configuration says. Nothing is started or read yet.
    pub fn new(config: RedisConfig) -> Self {
        let offering = offering::offering(config.flavour, config.shared_port);
        Self { config, removals: Removals::default(), offering, clusters: Mutex::default() }
    }

    /// A cluster that has a process, so that asking its server makes sense.
    pub(crate) async fn running(&self, spec: &ClusterSpec) -> Result<Arc<Cluster>, EngineError> {
        let cluster = self.cluster(&spec.name);
        match cluster.process(&self.config).await? {
            Some(_) => Ok(cluster),
            None => Err(EngineError::transient(format!("cluster {} does not run", spec.name))),
        }
    }

    pub(crate) fn cluster(&self, name: &ClusterName) -> Arc<Cluster> {
        let mut clusters = self.clusters.lock().unwrap_or_else(PoisonError::into_inner);
        clusters.entry(name.clone()).or_insert_with(|| Arc::new(Cluster::new(&self.config, name))).clone()
    }
}

#[async_trait]
impl Engine for RedisEngine {
    fn offering(&self) -> &Offering {
        &self.offering
    }

    fn host(&self) -> IpAddr {
        self.config.listen_address
    }

    async fn availability(&self) -> Availability {
        let (flavour, bin_dir) = (self.config.flavour, self.config.bin_dir.clone());
        let looked = tokio::task::spawn_blocking(move || install::installed(flavour, bin_dir.as_deref())).await;
        match looked.ok().flatten() {
            Some(installation) => Availability::Installed { version: installation.version.to_string() },
            None => Availability::Missing {
                reason: install::missing(flavour, self.config.bin_dir.as_deref()),
                remedy: install::remedy(flavour).to_owned(),
            },
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
        let Some(process) = cluster.process(&self.config).await? else {
            let cause = cluster.cause_of_end().await;
            return Ok(Observation::without_service(Health::Down { cause }));
        };
        let patience = self.config.patience.answer;
        let looking = observe::look(&cluster, &self.config, spec, instances, credentials);
        let health = match tokio::time::timeout(patience, looking).await {
            Ok(Ok(observation)) => {
                cluster.end_if_silent(&self.config, spec, true, &process).await;
                return Ok(observation);
            }
            Err(_) if cluster.end_if_silent(&self.config, spec, false, &process).await => {
                let reason = "one command has kept it from everybody, so that it is ended and started again".to_owned();
                Health::Unresponsive { reason }
            }
            // It may have ended while it was asked.
            _ if cluster.process(&self.config).await?.is_none() => Health::Down { cause: cluster.cause_of_end().await },
            Ok(Err(error)) => Health::Unresponsive { reason: with_cause(&error) },
            Err(_) => Health::Unresponsive { reason: format!("it did not answer within {patience:?}") },
        };
        Ok(Observation::without_service(health))
    }

    async fn reconfigure(&self, spec: &ClusterSpec) -> Result<(), EngineError> {
        let cluster = self.running(spec).await?;
        if cluster.renew_certificate(&self.config, spec).await? {
            cluster.reload_certificate().await?;
        }
        let settings = cluster.settings(&self.config, spec);
        write_derived_file(&cluster.directory.data(), data::SETTINGS, &settings.render(), &self.config.user)?;
        let attempt = || failed(format!("the settings of cluster {} could not be put in force", spec.name));
        let in_force = observe::settings_in_force(&cluster).await.map_err(attempt())?;
        let mut set = redis::cmd("CONFIG").arg("SET").clone();
        for (name, value) in &settings.adjustable {
            if in_force.get(*name) != Some(value) {
                set.arg(name).arg(value);
            }
        }
        if set.args_iter().count() > 2 {
            cluster.admin.query::<()>(&set).await.map_err(attempt())?;
        }
        credential::put_users_right(&cluster).await?;
        if !Copy::is_unfinished(&cluster.directory)? {
            let mut info = Info::ask(&cluster.admin).await?;
            if info.is_replica() {
                let alone = redis::cmd("REPLICAOF").arg(&["NO", "ONE"]).clone();
                cluster.admin.query::<()>(&alone).await.map_err(attempt())?;
                info = Info::ask(&cluster.admin).await?;
            }
            cluster.verify_data(&self.config, spec, cluster.record(spec)?, &info).await?;
        }
        match data::is_closed(&cluster.directory) {
            true => gate::close(&cluster.admin, spec).await,
            false => gate::open(&cluster.admin, spec).await,
        }
    }

    async fn stop(&self, spec: &ClusterSpec) -> Result<(), EngineError> {
        self.cluster(&spec.name).stop(&self.config).await
    }

    async fn stop_all(&self) -> Vec<(ClusterName, EngineError)> {
        let stop = |name: ClusterName| async move {
            let error = self.cluster(&name).stop(&self.config).await.err()?;
            Some((name, error))
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
        instance::provision(&*self.running(spec).await?, instance).await
    }

    async fn deprovision(&self, spec: &ClusterSpec, instance: &InstanceSpec) -> Result<(), EngineError> {
        instance::deprovision(&*self.running(spec).await?, &self.config, spec, instance).await
    }

    async fn bind(
        &self,
        spec: &ClusterSpec,
        instance: &InstanceSpec,
        credential: &CredentialSpec,
        password: &SecretString,
    ) -> Result<(), EngineError> {
        credential::bind(&*self.running(spec).await?, &self.config, spec, instance, credential, password).await
    }

    async fn unbind(&self, spec: &ClusterSpec, credential: &CredentialSpec) -> Result<(), EngineError> {
        credential::unbind(&*self.running(spec).await?, &self.config, credential).await
    }

    fn delivery(
        &self,
        spec: &ClusterSpec,
        instance: &InstanceSpec,
        credential: &CredentialSpec,
        password: &SecretString,
    ) -> BTreeMap<&'static str, SecretString> {
        let (user, address) = (credential.username(), SocketAddr::new(self.config.listen_address, spec.port));
        let tls = offering::tls(spec.plan, &spec.parameters);
        let scheme = if tls { "rediss" } else { "redis" };
        let uri = format!("{scheme}://{user}:{}@{address}/0", percent_encoded(password.expose_secret()));
        let mut delivery = BTreeMap::from([
            ("type", "redis".into()),
            ("provider", "mainstay".into()),
            ("host", address.ip().to_string().into()),
            ("port", address.port().to_string().into()),
            ("username", user.into()),
            ("password", password.clone()),
            ("uri", uri.into()),
        ]);
        if spec.plan == Plan::Shared {
            delivery.insert("prefix", rights::prefix(spec.plan, &instance.id).into());
        }
        let authority = self.config.authority.as_ref().filter(|_| tls);
        if let Some(certificate) = authority.and_then(|authority| authority.certificate()) {
            delivery.insert("certificates", certificate.into());
        }
        delivery
    }

    async fn figures(&self, spec: &ClusterSpec) -> Result<Vec<(&'static str, f64)>, EngineError> {
        let cluster = self.running(spec).await?;
        let asking = tokio::time::timeout(self.config.patience.answer, Info::ask(&cluster.admin));
        let unanswered = || EngineError::transient(format!("cluster {} does not answer", spec.name));
        Ok(figures::figures(&asking.await.map_err(|_| unanswered())??))
    }

    fn recovery(&self) -> Option<&dyn Recovery> {
        Some(self)
    }

    async fn follow(
        &self,
        to: &ClusterSpec,
        source: &dyn Engine,
        from: &ClusterSpec,
    ) -> Result<Following, EngineError> {
        takeover::follow(self, to, of_ours(source)?, from).await
    }

    async fn take_over(
        &self,
        to: &ClusterSpec,
        source: &dyn Engine,
        from: &ClusterSpec,
    ) -> Result<Duration, EngineError> {
        takeover::take_over(self, to, of_ours(source)?, from).await
    }

    async fn stay(&self, to: &ClusterSpec, source: &dyn Engine, from: &ClusterSpec) -> Result<(), EngineError> {
        takeover::stay(self, to, of_ours(source)?, from).await
    }
}

/// The only engines whose clusters can be taken over.
fn of_ours(source: &dyn Engine) -> Result<&RedisEngine, EngineError> {
    let engine: &dyn Any = source;
    engine.downcast_ref().ok_or_else(|| {
        EngineError::permanent(
            format!("{} is neither Redis nor Valkey", source.offering().engine),
            "move from a cluster of one of them",
        )
    })
}

/// An error and what caused it, in one sentence.
fn with_cause(error: &EngineError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// All but what a URI may hold anywhere is written as its bytes (RFC 3986, section 2.1).
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::percent_encoded;

    #[test]
    fn what_a_uri_may_not_hold_is_encoded() {
        assert_eq!(percent_encoded("aZ09-._~"), "aZ09-._~");
        assert_eq!(percent_encoded("p@s/w:%é"), "p%40s%2Fw%3A%25%C3%A9");
    }
}
