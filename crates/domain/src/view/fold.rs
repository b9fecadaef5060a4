//! What each event does to the view.

use std::sync::Arc;

use mainstay_types::{BackupId, BindingId, ClusterName, OperationId, Sequence, Timestamp, TokenId};

use super::begun::{created_token, id, requested_binding, requested_cluster, requested_instance, started_operation};
use super::recovery::MOST_REWINDS;
use super::{
    Binding, BindingState, Cluster, ClusterState, Credential, Drill, DrillOutcome, EvidenceKey, FINISHED_OPERATIONS,
    Failure, Instance, InstanceKey, InstanceState, Operation, OperationState, Orphan, REMEMBERED_DELETED,
    REMEMBERED_DRILLS, Recovery, RecoveryPoint, RecoveryPolicy, Restoring, Rewind, View,
};
use crate::event::{
    BackupCompleted, BackupOrphaned, BindingRotated, Body, BodyError, ClusterRestored, CustodyInitialized,
    CustodyKeyRotated, CustodyRekeyed, CustodyRestored, CustodySealed, CustodyUnsealed, CustodyWitnessed, Event,
    InstanceMoved,
};

/// Why an event does not fit onto a view.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    #[error("event {found} does not follow event {last}")]
    OutOfOrder { last: Sequence, found: Sequence },
    #[error("event {sequence} can not be read")]
    Body {
        sequence: Sequence,
        #[source]
        source: BodyError,
    },
    #[error("event {sequence} ({kind}) speaks of {subject:?}, which is not there")]
    NoSubject { sequence: Sequence, kind: String, subject: String },
}

impl View {
    /// Folds in the next event. On an error the view is as it was.
    pub fn apply(&mut self, event: &Event) -> Result<(), ApplyError> {
        let sequence = event.sequence;
        if sequence != self.sequence + 1 {
            return Err(ApplyError::OutOfOrder { last: self.sequence, found: sequence });
        }
        let body = event.body().map_err(|source| ApplyError::Body { sequence, source })?;
        self.fold(event, body).ok_or_else(|| ApplyError::NoSubject {
            sequence,
            kind: event.kind.clone(),
            subject: event.subject.id.clone(),
        })?;
        self.sequence = sequence;
        self.time = Some(event.time);
        Ok(())
    }

    /// The effect of a body; none where its subject is not there.
    fn fold(&mut self, event: &Event, body: Body) -> Option<()> {
        match body {
            Body::InstanceRequested(body) => {
                let (tenant, name) = instance_key(event)?;
                self.insert_instance(requested_instance(event, tenant, name, body));
            }
            Body::InstanceReady(_) => self.instance_state(event, InstanceState::Ready, None)?,
            Body::InstanceRepaired(_) => self.instance_state(event, InstanceState::Ready, None)?,
            Body::InstanceFailed(body) => self.instance_state(event, InstanceState::Failed, Some(body.reason))?,
            Body::InstanceMoveRequested(body) => self.change_moving(event, Some(body.cluster))?,
            Body::InstanceMoveFailed(_) => self.change_moving(event, None)?,
            Body::InstanceMoved(body) => self.instance_moved(event, body)?,
            Body::InstanceDeletionRequested(_) => {
                // Nobody waits for that any more, and its cluster is looked after again.
                self.change_recovery(event, |recovery| recovery.restoring = None)?;
                self.instance_state(event, InstanceState::Deleting, None)?;
                let instance = self.instances.get_mut(&instance_key(event)?)?;
                Arc::make_mut(instance).unwanted_since = Some(event.time);
            }
            Body::InstanceDeleted(_) => self.instance_deleted(&instance_key(event)?)?,

            Body::ClusterRequested(body) => {
                let name: ClusterName = id(event)?;
                self.clusters.insert(name.clone(), requested_cluster(event, name, body).into());
            }
            Body::ClusterReady(body) => self.change_cluster(event, |cluster| {
                cluster.identity = Some(body.identity);
                cluster.version = Some(body.version);
                (ClusterState::Ready, None)
            })?,
            Body::ClusterDegraded(body) => {
                self.change_cluster(event, |_| (ClusterState::Degraded, Some(body.reason)))?;
            }
            Body::ClusterRecovered(_) => self.change_cluster(event, |_| (ClusterState::Ready, None))?,
            Body::ClusterFailed(body) => self.change_cluster(event, |_| (ClusterState::Failed, Some(body.reason)))?,
            Body::ClusterRetired(_) => self.change_cluster(event, |_| (ClusterState::Retired, None))?,
            Body::ClusterDeleted(_) => drop(self.clusters.remove(&id::<ClusterName>(event)?)?),
            Body::EngineStarted(body) => self.engine_serves(event, body.version)?,
            Body::EngineRestarted(body) => self.engine_serves(event, body.version)?,
            Body::EngineReconfigured(_) => {}

            Body::BindingRequested(body) => self.insert_binding(requested_binding(event, body)?),
            Body::BindingCreated(body) => self.change_binding(event, |binding| {
                credential(binding, body.generation)?.applied = Some(body.valid_until);
                binding.state = BindingState::Ready;
                Some(())
            })?,
            Body::BindingFailed(body) => self.change_binding(event, |binding| {
                binding.state = BindingState::Failed;
                binding.reason = Some(body.reason);
                Some(())
            })?,
            Body::BindingRenewed(body) => self.change_binding(event, |binding| {
                binding.lease_seconds = body.lease_seconds;
                binding.expires_at = body.expires_at;
                Some(())
            })?,
            Body::BindingAdjusted(body) => self.change_binding(event, |binding| {
                credential(binding, body.generation)?.applied = Some(body.valid_until);
                Some(())
            })?,
            Body::BindingRotationRequested(body) => self.change_binding(event, |binding| {
                binding.credentials.push(Credential {
                    generation: body.generation,
                    applied: None,
                    retire_at: None,
                    overlap_seconds: body.overlap_seconds,
                    login: body.login,
                });
                Some(())
            })?,
            Body::BindingRotated(body) => self.change_binding(event, |binding| rotated(binding, &body))?,
            Body::BindingRepaired(_) => {}
            Body::BindingExpired(_) => self.change_binding(event, |binding| {
                binding.state = BindingState::Revoking;
                binding.reason = Some("its lease ended".to_owned());
                Some(())
            })?,
            Body::BindingRevocationRequested(body) => self.change_binding(event, |binding| {
                binding.state = BindingState::Revoking;
                binding.reason = Some(body.cause);
                Some(())
            })?,
            Body::CredentialRetired(body) => self.change_binding(event, |binding| {
                binding.credentials.retain(|credential| credential.generation != body.generation);
                Some(())
            })?,
            Body::BindingRevoked(_) => self.remove_binding(&id(event)?)?,

            Body::BackupCompleted(body) => self.backup_completed(event, body)?,
            Body::BackupFailed(body) => self.change_recovery(event, |recovery| {
                recovery.backup_failed = Some(Failure { at: body.at.unwrap_or(event.time), reason: body.reason });
            })?,
            Body::BackupExpired(body) => {
                self.remove_point(&body.backup).or(self.orphans.remove(&body.backup).map(drop))?;
            }
            Body::BackupOrphaned(BackupOrphaned { backup }) => {
                self.orphans.insert(backup.clone(), Orphan { backup, since: event.time });
            }
            Body::RestoreRequested(body) => self.change_recovery(event, |recovery| {
                recovery.restoring = Some(Restoring {
                    origin: body.origin,
                    backup: body.backup,
                    until: body.until,
                    whole_cluster: body.whole_cluster,
                });
            })?,
            Body::RestoreCompleted(_) => {
                self.change_recovery(event, |recovery| (recovery.restoring, recovery.lost) = (None, None))?;
                self.instance_state(event, InstanceState::Ready, None)?;
            }
            Body::RestoreFailed(_) => self.change_recovery(event, |recovery| recovery.restoring = None)?,
            Body::ClusterRestored(body) => self.cluster_restored(event, body)?,
            Body::DrillPassed(body) => self.drilled(event, Drill::passed(event, body)?)?,
            Body::DrillFailed(body) => self.drilled(event, Drill::failed(event, body)?)?,
            Body::RecoveryPolicyChanged(body) => {
                self.change_recovery(event, |recovery| recovery.policy = RecoveryPolicy::of(body, event.time))?;
            }
            Body::LayerRecovered(body) => self.layer_recovered(event.time, body.until),
            Body::RecoveryKeyAcknowledged(_) => self.recovery_key_acknowledged_at = Some(event.time),
            Body::RecoveryKeyShown(_) => {}
            Body::EvidenceKeyIntroduced(body) => self.evidence_keys.push_back(EvidenceKey::of(event, &body)),

            Body::OperationStarted(body) => self.insert_operation(started_operation(event, body)?),
            Body::OperationSucceeded(body) => self.finish(event, OperationState::Succeeded, body.detail)?,
            Body::OperationFailed(body) => {
                self.finish(event, OperationState::Failed { code: body.code, detail: body.detail }, None)?;
            }

            Body::TokenCreated(body) => {
                let token = created_token(event, body)?;
                self.tokens.insert(token.id.clone(), token.into());
            }
            Body::TokenRevoked(_) => drop(self.tokens.remove(&id::<TokenId>(event)?)?),

            Body::CustodyInitialized(CustodyInitialized { position })
            | Body::CustodyUnsealed(CustodyUnsealed { position })
            | Body::CustodySealed(CustodySealed { position })
            | Body::CustodyKeyRotated(CustodyKeyRotated { position })
            | Body::CustodyRekeyed(CustodyRekeyed { position })
            | Body::CustodyRestored(CustodyRestored { position })
            | Body::CustodyWitnessed(CustodyWitnessed { position }) => self.custody_position = position,

            // Objects are in an index of their own; these are told to whoever follows.
            Body::ObjectCreated(_)
            | Body::ObjectRemoved(_)
            | Body::ObjectTagged(_)
            | Body::ObjectExpired(_)
            | Body::ContentDamaged(_) => {}
            Body::ScrubCompleted(_) => self.scrubbed_at = Some(event.time),
        }
        Some(())
    }

    pub(super) fn insert_instance(&mut self, instance: Instance) {
        let key = instance.key();
        self.instance_ids.insert(instance.id.clone(), key.clone());
        self.on_cluster.insert((instance.cluster.clone(), key.clone()));
        if let Some(cluster) = &instance.moving {
            self.moving_to.insert(cluster.clone(), key.clone());
        }
        self.instances.insert(key, instance.into());
    }

    fn remove_instance(&mut self, key: &InstanceKey) -> Option<()> {
        let instance = self.instances.remove(key)?;
        self.instance_ids.remove(&instance.id);
        self.on_cluster.remove(&(instance.cluster.clone(), key.clone()));
        if let Some(cluster) = &instance.moving {
            self.moving_to.remove(cluster);
        }
        Some(())
    }

    fn instance_deleted(&mut self, key: &InstanceKey) -> Option<()> {
        let instance = self.instances.get(key)?.clone();
        self.remove_instance(key)?;
        if self.points_of(&instance).next().is_some() {
            self.deleted.push_back(instance);
        }
        while self.deleted.len() > REMEMBERED_DELETED {
            self.deleted.pop_front();
        }
        Some(())
    }

    fn change_moving(&mut self, event: &Event, to: Option<ClusterName>) -> Option<()> {
        let mut instance = Instance::clone(self.instances.get(&instance_key(event)?)?);
        self.remove_instance(&instance.key())?;
        instance.moving = to;
        self.insert_instance(instance);
        Some(())
    }

    fn instance_moved(&mut self, event: &Event, body: InstanceMoved) -> Option<()> {
        let cluster = Arc::make_mut(self.clusters.get_mut(&body.cluster)?);
        cluster.port = body.port;
        let plan = cluster.plan;
        let mut instance = Instance::clone(self.instances.get(&instance_key(event)?)?);
        self.remove_instance(&instance.key())?;
        instance.engine = body.engine;
        instance.plan = plan;
        instance.former.push(std::mem::replace(&mut instance.cluster, body.cluster));
        // There are no more of them than backups.
        instance.former.retain(|former| self.points_at(former, &instance.id).next().is_some());
        instance.moving = None;
        self.insert_instance(instance);
        Some(())
    }

    fn instance_state(&mut self, event: &Event, state: InstanceState, reason: Option<String>) -> Option<()> {
        let instance = Arc::make_mut(self.instances.get_mut(&instance_key(event)?)?);
        instance.state = state;
        instance.reason = reason;
        Some(())
    }

    fn change_recovery(&mut self, event: &Event, change: impl FnOnce(&mut Recovery)) -> Option<()> {
        change(&mut Arc::make_mut(self.instances.get_mut(&instance_key(event)?)?).recovery);
        Some(())
    }

    fn backup_completed(&mut self, event: &Event, body: BackupCompleted) -> Option<()> {
        let point = RecoveryPoint::of(body, self.sequence);
        self.change_recovery(event, |recovery| recovery.backup_failed = None)?;
        if point.instance.is_none() {
            // Of whichever instance the last one was tried: it is in this one.
            let failed = |instance: &&Arc<Instance>| instance.recovery.backup_failed.is_some();
            let key = |instance: &Arc<Instance>| (instance.tenant.clone(), instance.name.clone());
            let failed: Vec<_> = self.instances_on(&point.cluster).filter(failed).map(key).collect();
            for instance in failed {
                Arc::make_mut(self.instances.get_mut(&instance)?).recovery.backup_failed = None;
            }
        }
        self.insert_point(point);
        Some(())
    }

    fn cluster_restored(&mut self, event: &Event, body: ClusterRestored) -> Option<()> {
        let ClusterRestored { identity, version, lost, .. } = body;
        self.change_cluster(event, |cluster| {
            (cluster.identity, cluster.version) = (Some(identity), Some(version));
            (ClusterState::Ready, None)
        })?;
        let cluster = id::<ClusterName>(event)?;
        let keys: Vec<_> = self.instances_on(&cluster).map(|instance| instance.key()).collect();
        for key in keys {
            Arc::make_mut(self.instances.get_mut(&key)?).recovery.lost.clone_from(&lost);
        }
        Some(())
    }

    fn layer_recovered(&mut self, at: Timestamp, until: Option<Timestamp>) {
        if let Some(until) = until {
            self.rewinds.push_back(Rewind { until, at });
            while self.rewinds.len() > MOST_REWINDS {
                self.rewinds.pop_front();
            }
        }
    }

    pub(super) fn insert_point(&mut self, point: RecoveryPoint) {
        self.orphans.remove(&point.id);
        self.points_of.insert((point.of_what(), point.after, point.id.clone()));
        self.points.insert(point.id.clone(), point.into());
    }

    fn remove_point(&mut self, id: &BackupId) -> Option<()> {
        let point = self.points.remove(id)?;
        self.points_of.remove(&(point.of_what(), point.after, point.id.clone()));
        Some(())
    }

    fn drilled(&mut self, event: &Event, drill: Drill) -> Option<()> {
        self.change_recovery(event, |recovery| recovery.drilled(&drill))?;
        match &drill.outcome {
            DrillOutcome::Passed { .. } => self.drill_counts.passed += 1,
            DrillOutcome::Failed { .. } => self.drill_counts.failed += 1,
        }
        self.drills.push_back(drill.into());
        while self.drills.len() > REMEMBERED_DRILLS {
            self.drills.pop_front();
        }
        Some(())
    }

    fn change_cluster(
        &mut self,
        event: &Event,
        change: impl FnOnce(&mut Cluster) -> (ClusterState, Option<String>),
    ) -> Option<()> {
        let cluster = Arc::make_mut(self.clusters.get_mut(&id::<ClusterName>(event)?)?);
        (cluster.state, cluster.reason) = change(cluster);
        Some(())
    }

    fn engine_serves(&mut self, event: &Event, version: String) -> Option<()> {
        self.change_cluster(event, |cluster| {
            cluster.version = Some(version);
            (ClusterState::Ready, None)
        })
    }

    pub(super) fn insert_binding(&mut self, binding: Binding) {
        let key = (binding.tenant.clone(), binding.instance.clone());
        self.of_instance.insert((key, binding.id.clone()));
        self.bindings.insert(binding.id.clone(), binding.into());
    }

    fn remove_binding(&mut self, id: &BindingId) -> Option<()> {
        let binding = self.bindings.remove(id)?;
        let key = (binding.tenant.clone(), binding.instance.clone());
        self.of_instance.remove(&(key, id.clone()));
        Some(())
    }

    fn change_binding(&mut self, event: &Event, change: impl FnOnce(&mut Binding) -> Option<()>) -> Option<()> {
        change(Arc::make_mut(self.bindings.get_mut(&id::<BindingId>(event)?)?))
    }

    pub(super) fn insert_operation(&mut self, operation: Operation) {
        if let Some(idempotency) = &operation.idempotency {
            let key = (operation.tenant.clone(), idempotency.key.clone());
            self.idempotent.insert(key, operation.id.clone());
        }
        if !operation.is_finished() {
            self.active.insert((operation.tenant.clone(), operation.subject.clone(), operation.id.clone()));
        }
        self.operations.insert(operation.id.clone(), operation.into());
    }

    fn finish(&mut self, event: &Event, state: OperationState, detail: Option<String>) -> Option<()> {
        let operation = Arc::make_mut(self.operations.get_mut(&id::<OperationId>(event)?)?);
        operation.state = state;
        operation.detail = detail;
        operation.finished_at = Some(event.time);
        self.active.remove(&(operation.tenant.clone(), operation.subject.clone(), operation.id.clone()));
        self.finished.push_back(operation.id.clone());
        while self.finished.len() > FINISHED_OPERATIONS {
            let forgotten = self.finished.pop_front().and_then(|oldest| self.operations.remove(&oldest));
            if let Some((tenant, idempotency)) =
                forgotten.and_then(|operation| Some((operation.tenant.clone(), operation.idempotency.clone()?)))
            {
                self.idempotent.remove(&(tenant, idempotency.key));
            }
        }
        Some(())
    }
}

fn instance_key(event: &Event) -> Option<InstanceKey> {
    Some((event.tenant.clone()?, id(event)?))
}

fn credential(binding: &mut Binding, generation: u32) -> Option<&mut Credential> {
    binding.credentials.iter_mut().find(|credential| credential.generation == generation)
}

fn rotated(binding: &mut Binding, body: &BindingRotated) -> Option<()> {
    let rotated = credential(binding, body.generation)?;
    rotated.applied = Some(body.valid_until);
    // A new password under an old name ends what had that name. Other names overlap as they did.
    let ends = rotated.login;
    let ended = |credential: &&mut Credential| {
        credential.generation < body.generation && ends.is_none_or(|login| credential.login() == login)
    };
    for previous in binding.credentials.iter_mut().filter(ended) {
        let earlier = previous.retire_at.map_or(body.retire_previous_at, |at| at.min(body.retire_previous_at));
        previous.retire_at = Some(earlier);
    }
    Some(())
}
