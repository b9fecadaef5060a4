//! One step, carried out: the engine acts, and the outcome returns as a command.

use std::sync::Arc;

use mainstay_domain::command::{
    ClusterRemoval, ClusterStart, Command, CredentialApplied, CredentialRefused, CredentialRemoved, InstanceFailure,
    InstanceProvisioned, InstanceRemoved, Reconfigured, StartOutcome,
};
use mainstay_domain::event::Actor;
use mainstay_domain::plan::{Step, Target};
use mainstay_domain::view::{Binding, Cluster, Instance, View};
use mainstay_engine::{CredentialSpec, Engine, EngineError, StartKind};
use mainstay_types::{BindingId, Generation, InstanceId};

use crate::control::{Control, SubmitError, spec};
use crate::credentials::{credential_spec, instance_spec, secret_path};
use crate::draw::draw_secret;

/// What a step is carried out with.
#[derive(Clone)]
pub(super) struct Attempt {
    pub(super) control: Control,
    pub(super) engine: Arc<dyn Engine>,
    pub(super) cluster: Arc<Cluster>,
    /// The view that the step was planned on.
    pub(super) view: Arc<View>,
    /// What the start of a cluster follows, when its process was seen to end.
    pub(super) ended: Option<Ended>,
}

/// The end of a cluster's process, as it was seen.
#[derive(Debug, Clone)]
pub(super) struct Ended {
    pub(super) at: std::time::Instant,
    pub(super) cause: String,
    /// Whether it is on record already, because the start that follows takes long.
    pub(super) told: bool,
}

/// Why a step is to be tried again.
#[derive(Debug, thiserror::Error)]
pub(super) enum AttemptError {
    #[error("the engine could not do it")]
    Engine(#[source] EngineError),
    #[error("the outcome could not be recorded")]
    Submit(#[source] SubmitError),
    #[error("the password could not be had")]
    Custody(#[source] mainstay_custody::RecordError),
    #[error("the step panicked, which is a mistake in this version")]
    Panicked(#[source] tokio::task::JoinError),
}

impl Attempt {
    /// Carries the step out and records its outcome. Repeating it after any failure is harmless.
    pub(super) async fn carry_out(&self, step: &Step) -> Result<(), AttemptError> {
        let spec = spec(&self.cluster);
        let _shared = match step.target() {
            Target::Journal => None,
            Target::Cluster | Target::Instance(_) => Some(self.control.occupation().share(&self.cluster.name).await),
        };
        if let Target::Instance(instance) = step.target()
            && !self.lives_here(&instance)
        {
            // It has moved meanwhile, and what it needs is planned where it lives now.
            return Ok(());
        }
        match step {
            Step::Start { .. } => self.start().await,
            Step::Reconfigure { changes } => {
                self.engine.reconfigure(&spec).await.map_err(AttemptError::Engine)?;
                let cluster = self.cluster.name.clone();
                self.report(Reconfigured { cluster, changes: changes.clone() }).await
            }
            Step::Remove => {
                self.engine.remove(&spec).await.map_err(AttemptError::Engine)?;
                self.forget_passwords().await?;
                self.report(ClusterRemoval { cluster: self.cluster.name.clone() }).await
            }
            Step::Provision { instance, repaired } => self.provision(instance, repaired.clone()).await,
            Step::Deprovision { instance: id } => {
                let Some(instance) = self.view.instance_by_id(id) else { return Ok(()) };
                self.engine.deprovision(&spec, &instance_spec(instance)).await.map_err(AttemptError::Engine)?;
                self.report(InstanceRemoved { instance: id.clone() }).await
            }
            Step::Bind { binding, generation, repaired, .. } => self.bind(binding, *generation, repaired.clone()).await,
            Step::Unbind { binding, generation, .. } => self.unbind(binding, *generation).await,
            Step::Move { instance } => self.relocate(instance).await,
            Step::Report(command) => self.report(command.clone()).await,
        }
    }

    async fn start(&self) -> Result<(), AttemptError> {
        let started = self.engine.start(&spec(&self.cluster)).await.map_err(AttemptError::Engine)?;
        let outcome = match (started.how, &self.ended) {
            (StartKind::Adopted, _) => StartOutcome::Adopted,
            (StartKind::Initialised, _) | (StartKind::Started, None) => StartOutcome::Started,
            (StartKind::Started, Some(ended)) => StartOutcome::Restarted {
                cause: ended.cause.clone(),
                downtime_milliseconds: u64::try_from(ended.at.elapsed().as_millis()).unwrap_or(u64::MAX),
            },
        };
        let cluster = self.cluster.name.clone();
        self.report(ClusterStart { cluster, identity: started.identity, version: started.version, outcome }).await
    }

    async fn provision(&self, id: &InstanceId, repaired: Option<String>) -> Result<(), AttemptError> {
        let Some(instance) = self.view.instance_by_id(id) else { return Ok(()) };
        match self.engine.provision(&spec(&self.cluster), &instance_spec(instance)).await {
            Ok(()) => self.report(InstanceProvisioned { instance: id.clone(), repaired }).await,
            Err(error @ EngineError::Permanent { .. }) => {
                self.report(InstanceFailure { instance: id.clone(), reason: error.to_string() }).await
            }
            Err(error) => Err(AttemptError::Engine(error)),
        }
    }

    async fn bind(
        &self,
        binding: &BindingId,
        generation: Generation,
        repaired: Option<String>,
    ) -> Result<(), AttemptError> {
        let Some((instance, credential)) = self.credential(binding, generation) else { return Ok(()) };
        let (custody, path) = (self.control.custody(), secret_path(binding, generation));
        let known = custody.get(&path).await.map_err(AttemptError::Custody)?;
        let is_new = known.is_none();
        let password = known.unwrap_or_else(draw_secret);
        let keep = async { if is_new { custody.put_new(&path, &password).await } else { Ok(()) } };
        let (spec, instance) = (spec(&self.cluster), instance_spec(&instance));
        // Kept while the engine takes it, so that the two wait for the disk together. Nobody is told it before both have it, and
        // where one of them has not, the next attempt finds the one that is kept, or draws another.
        let (kept, bound) =
            futures::future::join(keep, self.engine.bind(&spec, &instance, &credential, &password)).await;
        kept.map_err(AttemptError::Custody)?;
        match bound {
            Ok(()) => {
                let valid_until = credential.valid_until;
                self.report(CredentialApplied { binding: binding.clone(), generation, valid_until, repaired }).await
            }
            // One that worked before is no less wanted because it can not be brought back now.
            Err(error @ EngineError::Permanent { .. }) if !self.was_applied(binding, generation) => {
                let reason = error.to_string();
                // Nobody will ever log in with it, and nothing else would remove it.
                self.forget_password(binding, generation).await?;
                self.report(CredentialRefused { binding: binding.clone(), generation, reason }).await
            }
            Err(error) => Err(AttemptError::Engine(error)),
        }
    }

    async fn unbind(&self, binding: &BindingId, generation: Generation) -> Result<(), AttemptError> {
        let Some((_, credential)) = self.credential(binding, generation) else { return Ok(()) };
        // What the engine has under a name that was taken over is the successor's.
        if !self.was_succeeded(binding, generation) {
            self.engine.unbind(&spec(&self.cluster), &credential).await.map_err(AttemptError::Engine)?;
            self.unbind_copy(&credential).await?;
        }
        // The password goes before the record of its end: after a crash in between, the step is simply repeated.
        self.forget_password(binding, generation).await?;
        self.report(CredentialRemoved { binding: binding.clone(), generation }).await
    }

    /// Ends a credential also on the cluster that its instance is moving to: that may take over at any time from now on, and whose
    /// credential is not in the view any more nobody would end there.
    async fn unbind_copy(&self, credential: &CredentialSpec) -> Result<(), AttemptError> {
        let view = self.control.view();
        let moving = view.instance_by_id(&credential.instance).and_then(|instance| instance.moving.as_ref());
        let copy = moving.and_then(|cluster| view.cluster(cluster)).filter(|cluster| cluster.identity.is_some());
        let Some((copy, engine)) = copy.and_then(|copy| Some((copy, self.control.engine(&copy.engine)?))) else {
            return Ok(());
        };
        engine.unbind(&spec(copy), credential).await.map_err(AttemptError::Engine)
    }

    /// Whether an instance is on this cluster still. It stays so for as long as the step keeps moves away.
    fn lives_here(&self, id: &InstanceId) -> bool {
        self.control.view().instance_by_id(id).is_none_or(|instance| instance.cluster == self.cluster.name)
    }

    /// Removes the passwords of everything that was on a removed cluster.
    async fn forget_passwords(&self) -> Result<(), AttemptError> {
        for instance in self.view.instances_on(&self.cluster.name) {
            for binding in self.view.bindings_of(instance) {
                for credential in &binding.credentials {
                    self.forget_password(&binding.id, credential.generation).await?;
                }
            }
        }
        Ok(())
    }

    async fn forget_password(&self, binding: &BindingId, generation: Generation) -> Result<(), AttemptError> {
        self.control.custody().delete(&secret_path(binding, generation)).await.map(drop).map_err(AttemptError::Custody)
    }

    pub(super) async fn report(&self, command: impl Into<Command>) -> Result<(), AttemptError> {
        self.control.submit(Actor::System, command).await.map(drop).map_err(AttemptError::Submit)
    }

    fn was_applied(&self, binding: &BindingId, generation: Generation) -> bool {
        let credential = self.view.binding(binding).and_then(|binding| binding.credential(generation));
        credential.is_some_and(|credential| credential.applied.is_some())
    }

    fn was_succeeded(&self, binding: &BindingId, generation: Generation) -> bool {
        let successor = |binding: &Arc<Binding>| binding.successor(binding.credential(generation)?).cloned();
        self.view.binding(binding).and_then(successor).is_some()
    }

    fn credential(&self, binding: &BindingId, generation: Generation) -> Option<(Arc<Instance>, CredentialSpec)> {
        let binding = self.view.binding(binding)?;
        let instance = self.view.instance_by_id(&binding.instance_id)?;
        Some((instance.clone(), credential_spec(binding, binding.credential(generation)?)))
    }
}
