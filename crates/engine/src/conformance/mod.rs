//! The suite that every engine passes.
//!
//! An engine's tests supply a [`Fixture`]: what a client and a vandal can do to that engine from outside. The
//! suite uses the engine through its contract only, and panics at the first promise that is broken.

mod credentials;
mod lifecycle;
pub mod recovery;
mod secrets;
mod statements;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use mainstay_types::{BindingId, Generation, InstanceId, InstanceName, Observation, Parameters, Presence, Timestamp};
use secrecy::SecretString;

use crate::{ClusterSpec, CredentialSpec, Engine, InstanceSpec};

/// The longest that a condition may take to come true.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often a condition is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// A validity that no test outlives.
const LONG: u64 = 3_600;

/// The keys and values that a consumer connects with.
pub type Delivery = BTreeMap<&'static str, SecretString>;

/// What can be done to an engine from outside its contract.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// The engine, built anew over the same machine: what the next control plane would build. The one before
    /// has been dropped.
    async fn engine(&self) -> Arc<dyn Engine>;

    /// A cluster that does not exist yet.
    fn cluster(&self) -> ClusterSpec;

    /// Connects as a client; none when it is refused.
    async fn connect(&self, delivery: &Delivery) -> Option<Box<dyn Session>>;

    /// What is true of this engine and not of every one.
    fn nature(&self) -> Nature {
        Nature::Processes
    }

    /// Whether the engine itself refuses a credential from its time on. Where it cannot, the control plane unbinds it then.
    fn refuses_expired(&self) -> bool {
        true
    }

    /// Whether a session goes on when the password that it began with is replaced.
    fn sessions_outlive_passwords(&self) -> bool {
        self.nature() == Nature::Processes
    }

    /// Statements that a credential can be made with, and one that the engine refuses; none where it takes none at all.
    fn statements(&self) -> Option<(Vec<String>, String)>;

    /// Ends without a warning what the cluster serves with: its process, or what an engine within the control plane
    /// stands on.
    async fn kill(&self, cluster: &ClusterSpec);

    /// Brings back what was killed, where starting the cluster does not do that.
    async fn revive(&self, _: &ClusterSpec) {}

    /// Removes an instance with a tool of the engine.
    async fn drop_instance(&self, cluster: &ClusterSpec, instance: &InstanceSpec);

    /// Removes a credential with a tool of the engine.
    async fn drop_credential(&self, cluster: &ClusterSpec, credential: &CredentialSpec);

    /// Changes a setting of the engine with a tool of the engine; false where it has none.
    async fn change_setting(&self, cluster: &ClusterSpec) -> bool;

    /// Removes the cluster's data while it is stopped.
    async fn lose_data(&self, cluster: &ClusterSpec);

    /// All that is left of the cluster on the machine, by name; empty when nothing is.
    fn remains(&self, cluster: &ClusterSpec) -> Vec<String>;

    /// All that the cluster's engine has logged.
    fn log(&self, cluster: &ClusterSpec) -> String;
}

/// Where an engine's clusters live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nature {
    /// In processes of their own, which go on when the control plane ends, and know who is connected.
    Processes,
    /// Within the control plane: they end with it, and each request of a client stands for itself.
    Within,
}

/// A client's session; where each request stands for itself, the right to send one.
#[async_trait]
pub trait Session: Send {
    /// Whether it can still be used.
    async fn is_open(&mut self) -> bool;
}

/// Runs the suite. It takes two clusters, which it removes.
pub async fn run(fixture: &dyn Fixture) {
    lifecycle::run(fixture).await;
    credentials::run(fixture).await;
}

/// An instance with one credential.
fn specs(number: u64) -> (InstanceSpec, CredentialSpec) {
    let instance = InstanceSpec {
        id: InstanceId::from_random(number),
        name: InstanceName::first(),
        parameters: Parameters::default(),
    };
    let credential = credential(&instance, number, 1);
    (instance, credential)
}

fn credential(instance: &InstanceSpec, number: u64, generation: Generation) -> CredentialSpec {
    CredentialSpec {
        binding: BindingId::from_random(number),
        generation,
        login: generation,
        instance: instance.id.clone(),
        valid_until: Timestamp::now().plus_seconds(LONG).whole_seconds(),
        statements: None,
    }
}

/// Waits until a condition holds.
async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let deadline = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < deadline, "within {PATIENCE:?} it should become true that {what}");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

fn instance_presence<'a>(observation: &'a Observation, instance: &InstanceSpec) -> &'a Presence {
    &observation.instances[&instance.id]
}

fn credential_presence<'a>(observation: &'a Observation, credential: &CredentialSpec) -> &'a Presence {
    &observation.credentials[&(credential.binding.clone(), credential.generation)].presence
}
