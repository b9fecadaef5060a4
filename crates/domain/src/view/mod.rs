//! The view: everything the layer knows, as the fold of all events so far.

mod begun;
mod binding;
mod cluster;
mod evidence;
mod fold;
mod instance;
mod operation;
mod recovery;
mod snapshot;
mod token;

use std::sync::Arc;

use imbl::{OrdMap, OrdSet, Vector};
use mainstay_types::{
    BackupId, BindingId, ClusterName, InstanceId, InstanceName, OperationId, Sequence, TenantName, Timestamp, TokenId,
};

use self::recovery::PointOf;
use crate::event::Subject;

pub use binding::{Binding, BindingState, Credential};
pub use cluster::{Cluster, ClusterState};
pub use evidence::{DrillCounts, EvidenceKey};
pub use fold::ApplyError;
pub use instance::{Instance, InstanceState, VisibleState};
pub use operation::{Operation, OperationState, Step, StepState};
pub use recovery::{
    Drill, DrillOutcome, Failure, KeepRule, Orphan, Proof, Recovery, RecoveryPoint, RecoveryPolicy, RecoveryState,
    Restoring, Rewind,
};
pub use token::Token;

/// How many finished operations the view remembers, and with them the idempotency keys they were asked for with.
///
/// A bound is needed because the view lives in memory; this one holds the work of a busy day and costs about 2 MiB.
pub const FINISHED_OPERATIONS: usize = 4096;

/// How many drills the view remembers: those of a hundred instances over half a year. All are in the journal.
pub const REMEMBERED_DRILLS: usize = 2_600;

/// How many deleted instances the view remembers for whoever deleted one by mistake.
pub const REMEMBERED_DELETED: usize = 1_000;

/// What an instance is found by.
pub type InstanceKey = (TenantName, InstanceName);

/// Everything the layer knows at one point of its journal.
///
/// A clone costs a few pointers: the maps are persistent and share what did not change.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct View {
    sequence: Sequence,
    time: Option<Timestamp>,
    instances: OrdMap<InstanceKey, Arc<Instance>>,
    clusters: OrdMap<ClusterName, Arc<Cluster>>,
    bindings: OrdMap<BindingId, Arc<Binding>>,
    operations: OrdMap<OperationId, Arc<Operation>>,
    tokens: OrdMap<TokenId, Arc<Token>>,
    /// How far secret custody's store had come when it was seen last.
    custody_position: u64,
    /// When all stored content was last read and compared with its digests.
    scrubbed_at: Option<Timestamp>,
    /// When somebody said that the recovery key is in a safe place.
    recovery_key_acknowledged_at: Option<Timestamp>,
    /// How often the layer was taken back to an earlier moment, the oldest first.
    rewinds: Vector<Rewind>,
    points: OrdMap<BackupId, Arc<RecoveryPoint>>,
    /// Backups that are in the repository and nobody's.
    orphans: OrdMap<BackupId, Orphan>,
    /// Instances that are gone and were backed up, in the order in which they went.
    deleted: Vector<Arc<Instance>>,
    /// Drills, the oldest first.
    drills: Vector<Arc<Drill>>,
    drill_counts: DrillCounts,
    /// What evidence is signed with, the first key first.
    evidence_keys: Vector<EvidenceKey>,
    /// Finished operations, the oldest first.
    finished: Vector<OperationId>,

    // Indexes: derived from the above, rebuilt when a snapshot is read.
    instance_ids: OrdMap<InstanceId, InstanceKey>,
    on_cluster: OrdSet<(ClusterName, InstanceKey)>,
    moving_to: OrdMap<ClusterName, InstanceKey>,
    of_instance: OrdSet<(InstanceKey, BindingId)>,
    /// Recovery points by what is in them, a whole cluster or one instance, in the order in which they were made.
    points_of: OrdSet<(PointOf, Sequence, BackupId)>,
    idempotent: OrdMap<(TenantName, String), OperationId>,
    /// Operations in progress, by what they are done to.
    active: OrdSet<(TenantName, Subject, OperationId)>,
}

impl View {
    /// The sequence number of the last event folded in; 0 for the empty view.
    pub fn sequence(&self) -> Sequence {
        self.sequence
    }

    /// The time of the last event folded in.
    pub fn time(&self) -> Option<Timestamp> {
        self.time
    }

    /// An instance by its tenant and name.
    pub fn instance(&self, tenant: &TenantName, name: &InstanceName) -> Option<&Arc<Instance>> {
        self.instances.get(&(tenant.clone(), name.clone()))
    }

    /// The instance that had this name last, where it was deleted and something is left that it can be made of again.
    pub fn deleted_instance(&self, tenant: &TenantName, name: &InstanceName) -> Option<&Arc<Instance>> {
        let (named, gone) = (|it: &&Arc<Instance>| it.tenant == *tenant && it.name == *name, self.deleted.iter().rev());
        let latest = gone.filter(|_| self.instance(tenant, name).is_none()).find(named)?;
        self.points_of(latest).next().is_some().then_some(latest)
    }

    /// The instances that somebody wanted gone, whether they are gone already or not.
    pub fn unwanted_instances(&self) -> impl Iterator<Item = &Arc<Instance>> {
        self.instances().filter(|instance| instance.unwanted_since.is_some()).chain(&self.deleted)
    }

    /// An instance by its id.
    pub fn instance_by_id(&self, id: &InstanceId) -> Option<&Arc<Instance>> {
        self.instances.get(self.instance_ids.get(id)?)
    }

    /// All instances, by tenant and name.
    pub fn instances(&self) -> impl Iterator<Item = &Arc<Instance>> {
        self.instances.values()
    }

    /// The instances of one tenant, by name.
    pub fn instances_of<'a>(&'a self, tenant: &'a TenantName) -> impl Iterator<Item = &'a Arc<Instance>> {
        self.instances
            .range((tenant.clone(), InstanceName::first())..)
            .take_while(move |((of, _), _)| of == tenant)
            .map(|(_, instance)| instance)
    }

    /// The instances that live on a cluster.
    pub fn instances_on<'a>(&'a self, cluster: &'a ClusterName) -> impl Iterator<Item = &'a Arc<Instance>> {
        self.on_cluster
            .range((cluster.clone(), (TenantName::first(), InstanceName::first()))..)
            .take_while(move |(of, _)| of == cluster)
            .filter_map(|(_, key)| self.instances.get(key))
    }

    /// The instance that is to live on a cluster and does not yet.
    pub fn instance_moving_to(&self, cluster: &ClusterName) -> Option<&Arc<Instance>> {
        self.instances.get(self.moving_to.get(cluster)?)
    }

    /// A cluster by its name.
    pub fn cluster(&self, name: &ClusterName) -> Option<&Arc<Cluster>> {
        self.clusters.get(name)
    }

    /// All clusters, by name.
    pub fn clusters(&self) -> impl Iterator<Item = &Arc<Cluster>> {
        self.clusters.values()
    }

    /// A binding by its id.
    pub fn binding(&self, id: &BindingId) -> Option<&Arc<Binding>> {
        self.bindings.get(id)
    }

    /// All bindings, by id.
    pub fn bindings(&self) -> impl Iterator<Item = &Arc<Binding>> {
        self.bindings.values()
    }

    /// The bindings of one instance, by id.
    pub fn bindings_of(&self, instance: &Instance) -> impl Iterator<Item = &Arc<Binding>> {
        let key = (instance.tenant.clone(), instance.name.clone());
        let from = (key.clone(), BindingId::from_random(0));
        self.of_instance.range(from..).take_while(move |(of, _)| *of == key).filter_map(|(_, id)| self.bindings.get(id))
    }

    /// An operation by its id, as long as it is remembered.
    pub fn operation(&self, id: &OperationId) -> Option<&Arc<Operation>> {
        self.operations.get(id)
    }

    /// All remembered operations, by id.
    pub fn operations(&self) -> impl Iterator<Item = &Arc<Operation>> {
        self.operations.values()
    }

    /// The operation that an idempotency key was used for, as long as it is remembered.
    pub fn operation_by_key(&self, tenant: &TenantName, key: &str) -> Option<&Arc<Operation>> {
        self.operations.get(self.idempotent.get(&(tenant.clone(), key.to_owned()))?)
    }

    /// The operations in progress on a subject.
    pub fn active_operations(&self, tenant: &TenantName, subject: &Subject) -> impl Iterator<Item = &Arc<Operation>> {
        let from = (tenant.clone(), subject.clone(), OperationId::from_random(0));
        let (tenant, subject) = (tenant.clone(), subject.clone());
        self.active
            .range(from..)
            .take_while(move |(of, on, _)| *of == tenant && *on == subject)
            .filter_map(|(_, _, id)| self.operations.get(id))
    }

    /// How far secret custody's store had come when it was seen last: one that has come less far is an old copy.
    pub fn custody_position(&self) -> u64 {
        self.custody_position
    }

    /// When all stored content was last read and compared with its digests.
    pub fn scrubbed_at(&self) -> Option<Timestamp> {
        self.scrubbed_at
    }

    /// A token by its id.
    pub fn token(&self, id: &TokenId) -> Option<&Arc<Token>> {
        self.tokens.get(id)
    }

    /// All tokens, by id.
    pub fn tokens(&self) -> impl Iterator<Item = &Arc<Token>> {
        self.tokens.values()
    }
}
