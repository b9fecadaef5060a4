//! The contract between the control plane and an engine.

use std::any::Any;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use mainstay_types::{
    BindingId, ClusterName, Generation, InstanceId, InstanceName, NodeName, Observation, Offering, Parameters, Plan,
    Timestamp,
};
use secrecy::SecretString;

use crate::recovery::Recovery;

/// One running deployment of an engine, as the control plane wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterSpec {
    pub name: ClusterName,
    /// The machine it is placed on; an engine acts for the machine of its own agent only.
    pub node: NodeName,
    pub plan: Plan,
    /// The port that its clients connect to, on the engine's listening address.
    pub port: u16,
    /// Of the one instance of a dedicated cluster; empty for a shared one.
    pub parameters: Parameters,
    /// What [`Engine::start`] said of it when it first served; none while it never did.
    ///
    /// A cluster that has an identity is never initialised anew: where its data is gone or is another
    /// cluster's, starting it is an error.
    pub identity: Option<String>,
}

/// What a consumer owns on a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceSpec {
    pub id: InstanceId,
    /// What its owner calls it: unique within its tenant only, and free again once it is deleted.
    pub name: InstanceName,
    pub parameters: Parameters,
}

/// One generation of a binding's credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialSpec {
    pub binding: BindingId,
    pub generation: Generation,
    /// The generation that its user name tells. An earlier one's where only the password is new: binding it then
    /// replaces the password that the engine knows under that name, and sessions go on.
    pub login: Generation,
    pub instance: InstanceId,
    /// When the engine itself is to refuse it, where it can, whether or not the control plane lives then; the control
    /// plane unbinds it at that time in any case. Whole seconds.
    pub valid_until: Timestamp,
    /// What it is allowed: statements that its user is made with, `{{name}}` and `{{expiration}}` in them for what this
    /// says. Nothing else is allowed to it then. Where there are none, it is allowed all that its instance's owner is.
    pub statements: Option<Vec<String>>,
}

impl CredentialSpec {
    /// The name that this credential logs in with: the binding's id and a generation, so that two overlap.
    pub fn username(&self) -> String {
        format!("b_{}_{}", self.binding.suffix(), self.login)
    }
}

/// What is true of a cluster that serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// Tells this cluster's data from any other's for ever: PostgreSQL's system identifier.
    pub identity: String,
    /// The version of the engine that serves it, for example `15.18`.
    pub version: String,
    /// How it came to serve.
    pub how: StartKind,
}

/// How a cluster came to serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartKind {
    /// It was made.
    Initialised,
    /// Its process had ended and was started.
    Started,
    /// Its process ran already.
    Adopted,
}

/// How far a cluster that follows another one has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Following {
    /// It does not have all yet that was there in the beginning.
    Copying,
    /// It has everything but so many bytes of what was written since.
    Behind { bytes: u64 },
}

/// Whether an engine can be used on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Availability {
    Installed {
        version: String,
    },
    /// It cannot; the remedy is one command or one sentence.
    Missing {
        reason: String,
        remedy: String,
    },
}

/// Why an engine did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// It may work when it is tried again: the engine is starting, a connection broke, a disk is full.
    #[error("{reason}")]
    Transient {
        reason: String,
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// It will not work until a person changes something; the remedy says what.
    #[error("{reason}; {remedy}")]
    Permanent { reason: String, remedy: String },
}

impl EngineError {
    /// A fault that a later attempt may not meet.
    pub fn transient(reason: impl Into<String>) -> Self {
        Self::Transient { reason: reason.into(), source: None }
    }

    /// A fault that a later attempt may not meet, with its cause.
    pub fn transient_from(
        reason: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Transient { reason: reason.into(), source: Some(source.into()) }
    }

    /// A fault that lasts until a person acts.
    pub fn permanent(reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Permanent { reason: reason.into(), remedy: remedy.into() }
    }
}

/// Software that fulfils a contract.
///
/// Every operation is idempotent: asked again after it was done, or after it was interrupted anywhere, it leads
/// to the same end. None of them waits without a bound. None prints or returns a password, and none passes one
/// in a process argument or in a statement that the engine could log.
///
/// Operations on different clusters run at the same time; so do `provision`, `bind` and their opposites for
/// different instances of one cluster. The caller never runs two operations on the same instance, nor
/// `start`, `stop`, `reconfigure`, `remove`, `follow`, `take_over` or `stay` beside anything but a look on the same cluster; the
/// last three have two clusters that this is true of.
#[async_trait]
pub trait Engine: Any + Send + Sync {
    /// What this engine can provide. Constant while the process lives.
    fn offering(&self) -> &Offering;

    /// The address that clients reach its clusters at.
    fn host(&self) -> IpAddr;

    /// Whether this machine has what the engine needs, looked up anew.
    async fn availability(&self) -> Availability;

    /// Makes the cluster serve: initialises it when it is new, adopts its process when that runs, starts it otherwise.
    async fn start(&self, cluster: &ClusterSpec) -> Result<Started, EngineError>;

    /// Resolves, with the cause, once the cluster's process has ended; at once when none runs.
    async fn ended(&self, cluster: &ClusterSpec) -> String;

    /// Looks at the cluster, and at the instances and credentials that should be on it.
    ///
    /// A cluster that does not serve is an observation, not an error.
    async fn observe(
        &self,
        cluster: &ClusterSpec,
        instances: &[InstanceSpec],
        credentials: &[CredentialSpec],
    ) -> Result<Observation, EngineError>;

    /// Writes the cluster's settings as this engine wants them today, and makes it use them.
    async fn reconfigure(&self, cluster: &ClusterSpec) -> Result<(), EngineError>;

    /// Stops the cluster's process in order; its data stays.
    async fn stop(&self, cluster: &ClusterSpec) -> Result<(), EngineError>;

    /// Stops every cluster of this engine that has a process on this machine, whether or not a journal knows it.
    /// Answers what could not be stopped.
    async fn stop_all(&self) -> Vec<(ClusterName, EngineError)>;

    /// Stops the cluster and removes all that belongs to it.
    async fn remove(&self, cluster: &ClusterSpec) -> Result<(), EngineError>;

    /// Makes the instance, or brings one that has drifted back.
    async fn provision(&self, cluster: &ClusterSpec, instance: &InstanceSpec) -> Result<(), EngineError>;

    /// Ends the instance's sessions and removes it with all its data.
    async fn deprovision(&self, cluster: &ClusterSpec, instance: &InstanceSpec) -> Result<(), EngineError>;

    /// Makes the credential work with this password until its time, or brings one that has drifted back.
    ///
    /// Its statements are carried out once, when its user is made, with no more rights than the instance's owner has.
    /// One that fails is a permanent error with the engine's words, and leaves no user behind.
    async fn bind(
        &self,
        cluster: &ClusterSpec,
        instance: &InstanceSpec,
        credential: &CredentialSpec,
        password: &SecretString,
    ) -> Result<(), EngineError>;

    /// Refuses the credential from now on, ends its sessions, and leaves to the instance what it made.
    async fn unbind(&self, cluster: &ClusterSpec, credential: &CredentialSpec) -> Result<(), EngineError>;

    /// The keys and values that a consumer connects with, named as in the Service Binding specification; the
    /// `password` among them is the one given.
    fn delivery(
        &self,
        cluster: &ClusterSpec,
        instance: &InstanceSpec,
        credential: &CredentialSpec,
        password: &SecretString,
    ) -> BTreeMap<&'static str, SecretString>;

    /// Figures about a serving cluster for the metrics page: name (after the OpenTelemetry conventions) and value.
    async fn figures(&self, cluster: &ClusterSpec) -> Result<Vec<(&'static str, f64)>, EngineError>;

    /// How its data is backed up and brought back; none where that can not be.
    fn recovery(&self) -> Option<&dyn Recovery> {
        None
    }

    /// Makes a cluster of this engine a copy of another one, credentials included, while that is used, and keeps it
    /// one; or goes on with that. Says how far it has come. Clients reach the source alone.
    ///
    /// What could never end in [`take_over`](Engine::take_over) is a permanent error, before anything is changed. The offering's
    /// `follows` says whose clusters it can be asked of.
    async fn follow(
        &self,
        to: &ClusterSpec,
        source: &dyn Engine,
        from: &ClusterSpec,
    ) -> Result<Following, EngineError> {
        let (_, _) = (source, from);
        Err(cannot_move(self.offering(), to))
    }

    /// Gives a copy of which little is missing the place of its source: writes wait, the rest is copied, the source serves
    /// nobody any more, and the copy serves on the port that `to` has here, which is the source's. Answers for how long writes
    /// waited. No write that was acknowledged is lost.
    ///
    /// A transient error leaves the source closed, so that it is asked again or followed by [`stay`](Engine::stay).
    async fn take_over(
        &self,
        to: &ClusterSpec,
        source: &dyn Engine,
        from: &ClusterSpec,
    ) -> Result<Duration, EngineError> {
        let (_, _) = (source, from);
        Err(cannot_move(self.offering(), to))
    }

    /// Gives up: clients reach the source again, and the copy is good for nothing but to follow anew or to be removed. It is a
    /// permanent error, and changes nothing, where the copy stands for itself already and may have been written to.
    async fn stay(&self, to: &ClusterSpec, source: &dyn Engine, from: &ClusterSpec) -> Result<(), EngineError> {
        let (_, _, _) = (to, source, from);
        // Who can not follow has closed nothing.
        Ok(())
    }
}

fn cannot_move(offering: &Offering, to: &ClusterSpec) -> EngineError {
    EngineError::permanent(
        format!("{} can not take over a cluster that is used, as {} would have to", offering.engine, to.name),
        "make a new instance and move the data with the engine's own tools",
    )
}
