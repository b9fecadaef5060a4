//! The contract, put together from the parts.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use mainstay_engine::recovery::Recovery;
use mainstay_engine::supervise::{ClusterDirectory, Removals};
use mainstay_engine::{Availability, ClusterSpec, CredentialSpec, Engine, EngineError, InstanceSpec, Started};
use mainstay_types::{ClusterName, Health, Observation, Offering, chain};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};

use crate::accounts::{Change, User, Verifier};
use crate::cluster::Cluster;
use crate::config::NatsConfig;
use crate::offering::{self, Limits};
use crate::register::Register;
use crate::{install, observe, streams};

/// A cluster that answers no question of ours for so long does not serve.
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);
/// What the name and the password in a URI are made of as they are (RFC 3986, 2.3); all else is percent-encoded.
const USERINFO: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// NATS on this machine.
#[derive(Debug)]
pub struct NatsEngine {
    pub(crate) config: Arc<NatsConfig>,
    /// Of what restores and drills make for a while.
    pub(crate) removals: Removals,
    offering: Offering,
    clusters: Mutex<HashMap<ClusterName, Arc<Cluster>>>,
}

impl NatsEngine {
    /// An engine that keeps its clusters where the configuration says. Nothing is started or read yet.
    pub fn new(config: NatsConfig) -> Self {
        let offering = offering::offering(config.shared_port);
        Self { config: Arc::new(config), removals: Removals::default(), offering, clusters: Mutex::default() }
    }

    fn cluster(&self, spec: &ClusterSpec) -> Arc<Cluster> {
        let mut clusters = self.clusters.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Cluster::new(&self.config, &spec.name, spec.port));
        clusters.entry(spec.name.clone()).or_insert_with(new).clone()
    }

    /// A cluster that has a process, so that asking its server makes sense.
    pub(crate) async fn running(&self, spec: &ClusterSpec) -> Result<Arc<Cluster>, EngineError> {
        let cluster = self.cluster(spec);
        cluster.running().await?;
        Ok(cluster)
    }
}

#[async_trait]
impl Engine for NatsEngine {
    fn offering(&self) -> &Offering {
        &self.offering
    }

    fn host(&self) -> IpAddr {
        self.config.listen_address
    }

    async fn availability(&self) -> Availability {
        let bin_dir = self.config.bin_dir.clone();
        let looked = tokio::task::spawn_blocking(move || install::installed(bin_dir.as_deref())).await;
        match looked.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(installation) => Availability::Installed { version: installation.version },
            Err(reason) => Availability::Missing { reason, remedy: install::INSTALL_REMEDY.to_owned() },
        }
    }

    async fn start(&self, cluster: &ClusterSpec) -> Result<Started, EngineError> {
        self.cluster(cluster).start(cluster).await
    }

    async fn ended(&self, cluster: &ClusterSpec) -> String {
        let cluster = self.cluster(cluster);
        match cluster.process().await {
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
        if cluster.process().await?.is_none() {
            let cause = cluster.cause_of_end().await;
            return Ok(Observation::without_service(Health::Down { cause }));
        }
        let looking = observe::observe(&cluster, instances, credentials);
        let health = match tokio::time::timeout(ANSWER_PATIENCE, looking).await {
            Ok(Ok(observation)) => return Ok(observation),
            // It may have ended while it was asked.
            _ if cluster.process().await?.is_none() => Health::Down { cause: cluster.cause_of_end().await },
            Ok(Err(error)) => Health::Unresponsive { reason: chain(&error) },
            Err(_) => Health::Unresponsive { reason: format!("it did not answer within {ANSWER_PATIENCE:?}") },
        };
        Ok(Observation::without_service(health))
    }

    async fn reconfigure(&self, spec: &ClusterSpec) -> Result<(), EngineError> {
        let cluster = self.cluster(spec);
        let process = cluster.running().await?;
        cluster.certify().await?;
        cluster.register.put_in_force_anew(&cluster, &process).await
    }

    async fn stop(&self, cluster: &ClusterSpec) -> Result<(), EngineError> {
        self.cluster(cluster).stop().await
    }

    async fn stop_all(&self) -> Vec<(ClusterName, EngineError)> {
        let stop = |name: ClusterName| async move {
            let known = self.clusters.lock().unwrap_or_else(PoisonError::into_inner).get(&name).cloned();
            // Its port is not known, and not needed to stop it.
            let cluster = known.unwrap_or_else(|| Arc::new(Cluster::new(&self.config, &name, self.config.shared_port)));
            Some((name, cluster.stop().await.err()?))
        };
        let clusters = ClusterDirectory::names(&self.config.clusters_dir, &self.offering.engine);
        futures::future::join_all(clusters.into_iter().map(stop)).await.into_iter().flatten().collect()
    }

    async fn remove(&self, spec: &ClusterSpec) -> Result<(), EngineError> {
        let cluster = self.cluster(spec);
        cluster.stop().await?;
        cluster.remove().await?;
        self.clusters.lock().unwrap_or_else(PoisonError::into_inner).remove(&spec.name);
        Ok(())
    }

    async fn provision(&self, spec: &ClusterSpec, instance: &InstanceSpec) -> Result<(), EngineError> {
        let cluster = self.running(spec).await?;
        if offering::is_encrypted(&instance.parameters) && !cluster.is_certified() {
            return Err(EngineError::permanent(
                format!("instance {} is to have TLS, and cluster {} has no certificate", instance.name, spec.name),
                "let the installation have an authority that issues certificates, or create the instance without --set tls=true",
            ));
        }
        let account = cluster.account(&instance.id)?;
        if cluster.register.accounts(&cluster)?.accounts.get(&account).is_some_and(|found| found.closing) {
            remove_account(&cluster, &account).await?;
        }
        let limits = Limits::of(&instance.parameters);
        Register::change(&cluster, Change::Open { account: account.clone(), limits }).await?;
        match cluster.lost_streams(&account).await?.first() {
            None => Ok(()),
            Some(stream) => Err(EngineError::permanent(
                format!("the server did not bring back stream {stream} of instance {}", instance.name),
                format!(
                    "restore {} from a backup and restart the cluster; to accept the loss, move it away",
                    streams::directory(&cluster.directory.data(), &account).join(stream).display()
                ),
            )),
        }
    }

    async fn deprovision(&self, spec: &ClusterSpec, instance: &InstanceSpec) -> Result<(), EngineError> {
        let cluster = self.running(spec).await?;
        let account = cluster.account(&instance.id)?;
        let is_known = cluster.register.accounts(&cluster)?.accounts.contains_key(&account);
        // An account that is not known any more may have left its streams behind.
        if is_known || streams::accounts_on_disk(&cluster.directory.data()).contains(&account) {
            remove_account(&cluster, &account).await?;
        }
        Ok(())
    }

    async fn bind(
        &self,
        spec: &ClusterSpec,
        instance: &InstanceSpec,
        credential: &CredentialSpec,
        password: &SecretString,
    ) -> Result<(), EngineError> {
        let user = credential.username();
        if credential.statements.is_some() {
            return Err(EngineError::permanent(
                format!("credential {user} is to be made by statements, and a user of NATS is not"),
                "bind without statements",
            ));
        }
        let cluster = self.running(spec).await?;
        let account = cluster.account(&instance.id)?;
        let accounts = cluster.register.accounts(&cluster)?;
        if accounts.accounts.get(&account).is_some_and(|account| account.restoring) {
            return Err(EngineError::permanent(
                format!(
                    "instance {} has some of its streams, because a restore did not come to its end",
                    instance.name
                ),
                "restore it again",
            ));
        }
        let known = accounts.accounts.get(&account).and_then(|account| account.users.get(&user));
        let verifier = match known {
            // The same password keeps its hash, and so its sessions.
            Some(known) => known.verifier.clone().kept(password.expose_secret())?,
            None => Verifier::of(password.expose_secret())?,
        };
        let credential = User { verifier, valid_until: credential.valid_until };
        Register::change(&cluster, Change::Admit { account, user, credential }).await
    }

    async fn unbind(&self, spec: &ClusterSpec, credential: &CredentialSpec) -> Result<(), EngineError> {
        let cluster = self.running(spec).await?;
        let (account, user) = (cluster.account(&credential.instance)?, credential.username());
        Register::change(&cluster, Change::Dismiss { account, user }).await
    }

    fn delivery(
        &self,
        cluster: &ClusterSpec,
        instance: &InstanceSpec,
        credential: &CredentialSpec,
        password: &SecretString,
    ) -> BTreeMap<&'static str, SecretString> {
        let user = credential.username();
        let (address, port) = (self.config.listen_address, cluster.port);
        let authority = SocketAddr::new(address, port);
        let encrypted = offering::is_encrypted(&instance.parameters);
        let scheme = if encrypted { "tls" } else { "nats" };
        let userinfo = utf8_percent_encode(password.expose_secret(), &USERINFO);
        let uri = format!("{scheme}://{user}:{userinfo}@{authority}");
        let mut delivery = BTreeMap::from([
            ("type", "nats".into()),
            ("provider", "mainstay".into()),
            ("host", address.to_string().into()),
            ("port", port.to_string().into()),
            ("username", user.into()),
            ("password", password.clone()),
            ("uri", uri.into()),
        ]);
        let certificate = self.config.authority.as_ref().and_then(|authority| authority.certificate());
        if let Some(certificate) = certificate.filter(|_| encrypted) {
            delivery.insert("certificates", certificate.into());
        }
        delivery
    }

    fn recovery(&self) -> Option<&dyn Recovery> {
        Some(self)
    }

    async fn figures(&self, spec: &ClusterSpec) -> Result<Vec<(&'static str, f64)>, EngineError> {
        let cluster = self.running(spec).await?;
        let secret = cluster.secret()?;
        let asking = futures::future::try_join(cluster.admin.server(&secret), cluster.admin.streams(&secret));
        let unanswered = |_| EngineError::transient(format!("cluster {} does not answer", spec.name));
        let (server, streams) = tokio::time::timeout(ANSWER_PATIENCE, asking).await.map_err(unanswered)??;
        Ok([
            ("nats.connections", server.connections),
            ("nats.connection.max", server.max_connections),
            ("nats.connections.total", server.total_connections),
            ("nats.subscriptions", server.subscriptions),
            ("nats.messages.received", server.in_msgs),
            ("nats.messages.sent", server.out_msgs),
            ("nats.bytes.received", server.in_bytes),
            ("nats.bytes.sent", server.out_bytes),
            ("nats.slow_consumers", server.slow_consumers),
            ("nats.memory.usage", server.mem),
            ("nats.jetstream.streams", streams.streams),
            ("nats.jetstream.consumers", streams.consumers),
            ("nats.jetstream.messages", streams.messages),
            ("nats.jetstream.storage.usage", streams.storage),
            ("nats.jetstream.memory.usage", streams.memory),
        ]
        .map(|(name, value)| (name, value as f64))
        .to_vec())
    }
}

/// Removes an account with its streams. They are deleted while the server still has the account and nobody comes into it:
/// without it they would stay on disk, and come back with an account of the same name.
async fn remove_account(cluster: &Arc<Cluster>, account: &str) -> Result<(), EngineError> {
    Register::change(cluster, Change::Close { account: account.to_owned() }).await?;
    cluster.admin.purge(&cluster.secret()?, account).await?;
    Register::change(cluster, Change::Forget { account: account.to_owned() }).await
}
