//! What the fake engine's processes and data would be. It outlives the engine objects that share it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mainstay_types::{ClusterName, InstanceId, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::watch;

use super::VERSION;
use super::faults::Faults;
use super::recovery::Change;
use crate::{Availability, ClusterSpec, EngineError};

#[derive(Debug, Default)]
pub(super) struct World {
    state: Mutex<State>,
    pub faults: Faults,
}

#[derive(Debug)]
pub(super) struct State {
    pub clusters: BTreeMap<ClusterName, Cluster>,
    /// Counts all clusters ever made, so that no identity comes twice.
    pub clusters_made: u64,
    pub sessions_opened: u64,
    pub availability: Availability,
    pub now: Option<Timestamp>,
}

#[derive(Debug)]
pub(super) struct Cluster {
    pub identity: String,
    pub port: u16,
    pub instances: BTreeMap<InstanceId, Instance>,
    pub credentials: BTreeMap<String, Credential>,
    /// Open sessions by number, with the name that each logged in with.
    pub sessions: BTreeMap<u64, String>,
    pub changed_settings: Vec<String>,
    /// Every change to its instances' data, oldest first.
    pub changes: Vec<Change>,
    /// The number of the first of them: in a cluster that was restored those before are another one's.
    pub first_change: usize,
    /// Whether it lets no client in, because it is, or was, copied.
    pub closed: bool,
    /// Whether it was a copy, and took its source's place.
    pub took_over: bool,
    /// Why the process ended; none while it runs.
    pub end: watch::Sender<Option<String>>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Instance {
    pub drift: Option<String>,
    pub data: BTreeMap<String, String>,
}

/// Cloned when a cluster becomes another one's copy.
#[derive(Debug, Clone)]
pub(super) struct Credential {
    pub instance: InstanceId,
    pub password: SecretString,
    pub valid_until: Timestamp,
    pub statements: Option<Vec<String>>,
    pub drift: Option<String>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            clusters: BTreeMap::new(),
            clusters_made: 0,
            sessions_opened: 0,
            availability: Availability::Installed { version: VERSION.to_owned() },
            now: None,
        }
    }
}

impl Cluster {
    pub fn new(identity: String, port: u16) -> Self {
        Self {
            identity,
            port,
            instances: BTreeMap::new(),
            credentials: BTreeMap::new(),
            sessions: BTreeMap::new(),
            changed_settings: Vec::new(),
            changes: Vec::new(),
            first_change: 0,
            closed: false,
            took_over: false,
            end: watch::Sender::new(None),
        }
    }

    pub fn runs(&self) -> bool {
        self.end.borrow().is_none()
    }

    /// Whether clients that come by a port come to this one.
    fn serves(&self, port: u16) -> bool {
        self.port == port && self.runs() && !self.closed
    }
}

impl World {
    pub fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds the lock can panic half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at or damages a cluster, where there is one.
    pub fn with<T>(&self, cluster: &ClusterName, act: impl FnOnce(&mut Cluster) -> T) -> Option<T> {
        self.state().clusters.get_mut(cluster).map(act)
    }

    /// Acts on a cluster as a client of it would, which takes one that serves.
    pub fn serving<T>(
        &self,
        spec: &ClusterSpec,
        act: impl FnOnce(&mut Cluster) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        match self.state().clusters.get_mut(&spec.name) {
            Some(cluster) if cluster.runs() => act(cluster),
            _ => Err(EngineError::transient(format!("cluster {} does not run", spec.name))),
        }
    }

    /// Makes a cluster the copy of one in this world or another.
    pub fn copy(&self, to: &ClusterSpec, source: &World, from: &ClusterSpec) -> Result<(), EngineError> {
        let (instances, credentials) =
            source.serving(from, |cluster| Ok((cluster.instances.clone(), cluster.credentials.clone())))?;
        self.serving(to, |cluster| {
            (cluster.instances, cluster.credentials) = (instances, credentials);
            cluster.closed = true;
            Ok(())
        })
    }

    pub fn end_process(&self, cluster: &ClusterName, cause: &str) {
        self.with(cluster, |cluster| {
            cluster.sessions.clear();
            if cluster.runs() {
                cluster.end.send_replace(Some(cause.to_owned()));
            }
        });
    }

    /// Acts on the instance that clients of a port find under this name, where they find one.
    pub fn at<T>(&self, port: u16, instance: &str, act: impl FnOnce(&mut Cluster, &InstanceId) -> T) -> Option<T> {
        let mut state = self.state();
        let cluster = state.clusters.values_mut().find(|cluster| cluster.serves(port))?;
        let id = cluster.instances.keys().find(|id| id.suffix() == instance)?.clone();
        Some(act(cluster, &id))
    }

    pub fn can_connect(&self, port: u16, instance: &str, username: &str, password: &str) -> bool {
        let state = self.state();
        let now = state.now.unwrap_or_else(Timestamp::now);
        state.clusters.values().find(|cluster| cluster.serves(port)).is_some_and(|cluster| {
            cluster.instances.keys().any(|id| id.suffix() == instance)
                && cluster.credentials.get(username).is_some_and(|credential| {
                    credential.instance.suffix() == instance
                        && credential.drift.is_none()
                        && now < credential.valid_until
                        && credential.password.expose_secret() == password
                })
        })
    }

    pub fn open_session(&self, port: u16, instance: &str, username: &str, password: &str) -> Option<u64> {
        if !self.can_connect(port, instance, username, password) {
            return None;
        }
        let mut state = self.state();
        state.sessions_opened += 1;
        let number = state.sessions_opened;
        let cluster = state.clusters.values_mut().find(|cluster| cluster.serves(port))?;
        cluster.sessions.insert(number, username.to_owned());
        Some(number)
    }

    pub fn session_is_open(&self, session: u64) -> bool {
        self.state().clusters.values().any(|cluster| cluster.sessions.contains_key(&session))
    }
}
