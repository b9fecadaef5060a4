//! An engine in memory, for tests of what drives engines: deterministic, and it fails when it is told to.

mod faults;
mod recovery;
mod world;

use std::any::Any;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mainstay_types::{
    ClusterName, CredentialObservation, Health, InstanceId, Observation, Offering, ParameterKind, ParameterSpec, Plan,
    Presence, Timestamp,
};
use secrecy::{ExposeSecret, SecretString};

pub use self::faults::{Hold, Operation};
use self::world::{Cluster, Credential, World};
use crate::recovery::Recovery;
use crate::{
    Availability, ClusterSpec, CredentialSpec, Engine, EngineError, Following, InstanceSpec, StartKind, Started,
};

/// The version that the fake engine says it is of.
const VERSION: &str = "1.0";

/// The statement that the fake engine refuses; it takes all others.
pub const REFUSED_STATEMENT: &str = "REFUSE";

/// For how long writes wait, as the fake engine says, while a cluster takes over.
const WRITES_WAITED: Duration = Duration::from_millis(7);

/// An engine whose clusters are entries in a table. Clones are the same engine.
#[derive(Debug, Clone)]
pub struct FakeEngine {
    offering: Arc<Offering>,
    world: Arc<World>,
}

/// The fake engine in place of PostgreSQL: contract `postgresql/v1`, plans shared and dedicated, one parameter; it
/// takes over its own clusters.
impl Default for FakeEngine {
    fn default() -> Self {
        let parse = "the names are valid";
        Self::new(Offering {
            contract: "postgresql/v1".parse().expect(parse),
            engine: "postgresql".parse().expect(parse),
            plans: vec![Plan::Shared, Plan::Dedicated],
            parameters: vec![ParameterSpec {
                name: "connection_limit",
                description: "Sessions that each binding may have open at once",
                kind: ParameterKind::Integer { min: 1, max: 500 },
                plans: &[Plan::Shared, Plan::Dedicated],
            }],
            shared_port: 7432,
            follows: vec!["postgresql".parse().expect(parse)],
        })
    }
}

impl FakeEngine {
    /// An engine with nothing on it.
    pub fn new(offering: Offering) -> Self {
        Self { offering: Arc::new(offering), world: Arc::default() }
    }

    /// The next call of this operation fails with this error, and does nothing. Several are used up in order.
    pub fn fail_next(&self, operation: Operation, error: EngineError) {
        self.world.faults.fail_next(operation, error);
    }

    /// From now on calls of this operation wait until the hold is dropped.
    pub fn hold(&self, operation: Operation) -> Hold {
        self.world.faults.hold(operation)
    }

    /// The calls so far, oldest first, with what each was about.
    pub fn calls(&self) -> Vec<(Operation, String)> {
        self.world.faults.calls()
    }

    /// What a call of [`Engine::availability`] finds from now on.
    pub fn set_availability(&self, availability: Availability) {
        self.world.state().availability = availability;
    }

    /// The time by which credentials expire; the machine's clock until it is set.
    pub fn set_now(&self, now: Timestamp) {
        self.world.state().now = Some(now);
    }

    /// The cluster's process ends.
    pub fn end_process(&self, cluster: &ClusterName, cause: &str) {
        self.world.end_process(cluster, cause);
    }

    /// The cluster's data is gone, and its process with it.
    pub fn lose_data(&self, cluster: &ClusterName) {
        self.world.end_process(cluster, "its data is gone");
        self.world.state().clusters.remove(cluster);
    }

    /// Somebody removes an instance behind our back.
    pub fn drop_instance(&self, cluster: &ClusterName, instance: &InstanceId) {
        self.world.with(cluster, |cluster| cluster.instances.remove(instance));
    }

    /// Somebody removes a credential behind our back.
    pub fn drop_credential(&self, cluster: &ClusterName, username: &str) {
        self.world.with(cluster, |cluster| cluster.credentials.remove(username));
    }

    /// Somebody changes a credential behind our back, so that it can not be used.
    pub fn drift_credential(&self, cluster: &ClusterName, username: &str, how: &str) {
        self.world.with(cluster, |cluster| {
            if let Some(credential) = cluster.credentials.get_mut(username) {
                credential.drift = Some(how.to_owned());
            }
        });
    }

    /// Somebody changes an instance behind our back.
    pub fn drift_instance(&self, cluster: &ClusterName, instance: &InstanceId, how: &str) {
        self.world.with(cluster, |cluster| {
            if let Some(instance) = cluster.instances.get_mut(instance) {
                instance.drift = Some(how.to_owned());
            }
        });
    }

    /// Somebody changes a setting behind our back.
    pub fn change_setting(&self, cluster: &ClusterName, sentence: &str) {
        self.world.with(cluster, |cluster| cluster.changed_settings.push(sentence.to_owned()));
    }

    /// The statements that a credential was made with; none where there is no such credential, or it has none.
    pub fn statements(&self, cluster: &ClusterName, username: &str) -> Option<Vec<String>> {
        self.world.with(cluster, |cluster| cluster.credentials.get(username)?.statements.clone())?
    }

    /// Whether a client could connect to this database with these credentials now.
    pub fn can_connect(&self, port: u16, instance: &str, username: &str, password: &str) -> bool {
        self.world.can_connect(port, instance, username, password)
    }

    /// A client connects, when it can, and stays; the session is named by the number that comes back.
    pub fn open_session(&self, port: u16, instance: &str, username: &str, password: &str) -> Option<u64> {
        self.world.open_session(port, instance, username, password)
    }

    /// Whether a session is still open.
    pub fn session_is_open(&self, session: u64) -> bool {
        self.world.session_is_open(session)
    }

    async fn enter(&self, operation: Operation, subject: impl std::fmt::Display) -> Result<(), EngineError> {
        self.world.faults.enter(operation, subject.to_string()).await
    }
}

#[async_trait]
impl Engine for FakeEngine {
    fn offering(&self) -> &Offering {
        &self.offering
    }

    fn host(&self) -> IpAddr {
        IpAddr::V4(Ipv4Addr::LOCALHOST)
    }

    async fn availability(&self) -> Availability {
        self.world.state().availability.clone()
    }

    async fn start(&self, spec: &ClusterSpec) -> Result<Started, EngineError> {
        self.enter(Operation::Start, &spec.name).await?;
        let mut state = self.world.state();
        let number = state.clusters_made + 1;
        let known = state.clusters.get(&spec.name).map(|cluster| cluster.identity.clone());
        if let Some(identity) = &spec.identity
            && known.as_ref() != Some(identity)
        {
            return Err(EngineError::permanent(
                format!("the data of cluster {} is gone, and it is not initialised anew", spec.name),
                "restore it, or delete the cluster's instances",
            ));
        }
        let new = known.is_none();
        if new {
            state.clusters_made = number;
            state.clusters.insert(spec.name.clone(), Cluster::new(format!("fake-{number}"), spec.port));
        }
        let Some(cluster) = state.clusters.get_mut(&spec.name) else {
            return Err(EngineError::transient("the cluster vanished"));
        };
        let how = match (new, cluster.runs()) {
            (true, _) => StartKind::Initialised,
            (false, true) => StartKind::Adopted,
            (false, false) => StartKind::Started,
        };
        cluster.end.send_replace(None);
        Ok(Started { identity: cluster.identity.clone(), version: VERSION.to_owned(), how })
    }

    async fn ended(&self, spec: &ClusterSpec) -> String {
        let Some(mut end) = self.world.state().clusters.get(&spec.name).map(|cluster| cluster.end.subscribe()) else {
            return "no process of it runs".to_owned();
        };
        match end.wait_for(Option::is_some).await {
            Ok(cause) => cause.clone().unwrap_or_default(),
            Err(_) => "the cluster was removed".to_owned(),
        }
    }

    async fn observe(
        &self,
        spec: &ClusterSpec,
        instances: &[InstanceSpec],
        credentials: &[CredentialSpec],
    ) -> Result<Observation, EngineError> {
        self.enter(Operation::Observe, &spec.name).await?;
        let state = self.world.state();
        let Some(cluster) = state.clusters.get(&spec.name) else {
            let cause = "no process of it runs".to_owned();
            return Ok(Observation::without_service(Health::Down { cause }));
        };
        if let Some(cause) = cluster.end.borrow().clone() {
            return Ok(Observation::without_service(Health::Down { cause }));
        }
        Ok(Observation {
            health: Health::Serving,
            instances: instances
                .iter()
                .map(|spec| (spec.id.clone(), presence(cluster.instances.get(&spec.id).map(|found| &found.drift))))
                .collect(),
            credentials: credentials
                .iter()
                .map(|spec| ((spec.binding.clone(), spec.generation), observe_credential(cluster, spec)))
                .collect(),
            changed_settings: cluster.changed_settings.clone(),
        })
    }

    async fn reconfigure(&self, spec: &ClusterSpec) -> Result<(), EngineError> {
        self.enter(Operation::Reconfigure, &spec.name).await?;
        self.world.serving(spec, |cluster| {
            cluster.changed_settings.clear();
            Ok(())
        })
    }

    async fn stop(&self, spec: &ClusterSpec) -> Result<(), EngineError> {
        self.enter(Operation::Stop, &spec.name).await?;
        self.world.end_process(&spec.name, "it was stopped");
        Ok(())
    }

    async fn stop_all(&self) -> Vec<(ClusterName, EngineError)> {
        let clusters: Vec<ClusterName> = self.world.state().clusters.keys().cloned().collect();
        for cluster in clusters {
            self.world.end_process(&cluster, "it was stopped");
        }
        Vec::new()
    }

    async fn remove(&self, spec: &ClusterSpec) -> Result<(), EngineError> {
        self.enter(Operation::Remove, &spec.name).await?;
        self.world.end_process(&spec.name, "it was removed");
        self.world.state().clusters.remove(&spec.name);
        Ok(())
    }

    async fn provision(&self, spec: &ClusterSpec, instance: &InstanceSpec) -> Result<(), EngineError> {
        self.enter(Operation::Provision, &instance.id).await?;
        self.world.serving(spec, |cluster| {
            let entry = cluster.instances.entry(instance.id.clone());
            entry.or_default().drift = None;
            Ok(())
        })
    }

    async fn deprovision(&self, spec: &ClusterSpec, instance: &InstanceSpec) -> Result<(), EngineError> {
        self.enter(Operation::Deprovision, &instance.id).await?;
        self.world.serving(spec, |cluster| {
            cluster.instances.remove(&instance.id);
            cluster.credentials.retain(|_, credential| credential.instance != instance.id);
            Ok(())
        })
    }

    async fn bind(
        &self,
        spec: &ClusterSpec,
        instance: &InstanceSpec,
        credential: &CredentialSpec,
        password: &SecretString,
    ) -> Result<(), EngineError> {
        self.enter(Operation::Bind, credential.username()).await?;
        self.world.serving(spec, |cluster| {
            if !cluster.instances.contains_key(&instance.id) {
                return Err(EngineError::transient(format!("instance {} is not there yet", instance.id)));
            }
            let made = cluster.credentials.get(&credential.username());
            let statements = match made {
                Some(made) => made.statements.clone(),
                None => carried_out(credential)?,
            };
            let bound = Credential {
                instance: instance.id.clone(),
                password: password.clone(),
                valid_until: credential.valid_until,
                statements,
                drift: None,
            };
            cluster.credentials.insert(credential.username(), bound);
            Ok(())
        })
    }

    async fn unbind(&self, spec: &ClusterSpec, credential: &CredentialSpec) -> Result<(), EngineError> {
        self.enter(Operation::Unbind, credential.username()).await?;
        self.world.serving(spec, |cluster| {
            cluster.credentials.remove(&credential.username());
            cluster.sessions.retain(|_, username| *username != credential.username());
            Ok(())
        })
    }

    fn delivery(
        &self,
        cluster: &ClusterSpec,
        _: &InstanceSpec,
        credential: &CredentialSpec,
        password: &SecretString,
    ) -> BTreeMap<&'static str, SecretString> {
        let (user, secret, database) = (credential.username(), password.expose_secret(), credential.instance.suffix());
        BTreeMap::from([
            ("type", "postgresql".into()),
            ("provider", "mainstay".into()),
            ("host", "127.0.0.1".into()),
            ("port", cluster.port.to_string().into()),
            ("database", database.into()),
            ("uri", format!("postgresql://{user}:{secret}@127.0.0.1:{}/{database}", cluster.port).into()),
            ("username", user.into()),
            ("password", password.clone()),
        ])
    }

    async fn figures(&self, spec: &ClusterSpec) -> Result<Vec<(&'static str, f64)>, EngineError> {
        self.enter(Operation::Figures, &spec.name).await?;
        self.world.serving(spec, |cluster| Ok(vec![("fake.sessions", cluster.sessions.len() as f64)]))
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
        self.enter(Operation::Follow, &to.name).await?;
        if self.world.serving(to, |cluster| Ok(cluster.took_over))? {
            return Ok(Following::Behind { bytes: 0 });
        }
        let source = fake(source)?;
        source.world.serving(from, |cluster| {
            cluster.closed = false;
            Ok(())
        })?;
        self.world.copy(to, &source.world, from)?;
        Ok(Following::Behind { bytes: 0 })
    }

    async fn take_over(
        &self,
        to: &ClusterSpec,
        source: &dyn Engine,
        from: &ClusterSpec,
    ) -> Result<Duration, EngineError> {
        self.enter(Operation::TakeOver, &to.name).await?;
        if !self.world.serving(to, |cluster| Ok(cluster.took_over))? {
            let source = fake(source)?;
            source.world.serving(from, |cluster| {
                cluster.closed = true;
                cluster.sessions.clear();
                Ok(())
            })?;
            self.world.copy(to, &source.world, from)?;
        }
        self.world.serving(to, |cluster| {
            (cluster.took_over, cluster.closed, cluster.port) = (true, false, to.port);
            Ok(WRITES_WAITED)
        })
    }

    async fn stay(&self, to: &ClusterSpec, source: &dyn Engine, from: &ClusterSpec) -> Result<(), EngineError> {
        self.enter(Operation::Stay, &to.name).await?;
        if self.world.with(&to.name, |cluster| cluster.took_over) == Some(true) {
            let reason = format!("cluster {} has taken over", to.name);
            return Err(EngineError::permanent(reason, "let it take over"));
        }
        fake(source)?.world.with(&from.name, |cluster| cluster.closed = false);
        Ok(())
    }
}

/// The only engine whose clusters the fake one can copy.
fn fake(source: &dyn Engine) -> Result<&FakeEngine, EngineError> {
    let source: &dyn Any = source;
    source.downcast_ref().ok_or_else(|| EngineError::permanent("it is no fake engine", "move from one that is"))
}

/// What comes of a new credential's statements: all are carried out but the one that is refused.
fn carried_out(credential: &CredentialSpec) -> Result<Option<Vec<String>>, EngineError> {
    match credential.statements.iter().flatten().find(|statement| *statement == REFUSED_STATEMENT) {
        None => Ok(credential.statements.clone()),
        Some(statement) => Err(EngineError::permanent(format!("{statement:?} is refused"), "change the statement")),
    }
}

fn observe_credential(cluster: &Cluster, spec: &CredentialSpec) -> CredentialObservation {
    let username = spec.username();
    let found = cluster.credentials.get(&username);
    let presence = match found {
        Some(found) if found.valid_until != spec.valid_until => {
            Presence::Drifted { how: format!("it is valid until {}", found.valid_until) }
        }
        found => presence(found.map(|found| &found.drift)),
    };
    let sessions = cluster.sessions.values().filter(|session| **session == username).count();
    CredentialObservation { presence, sessions: sessions as u32 }
}

fn presence(found: Option<&Option<String>>) -> Presence {
    match found {
        None => Presence::Missing,
        Some(None) => Presence::Present,
        Some(Some(how)) => Presence::Drifted { how: how.clone() },
    }
}
