//! Operations as the view holds them.

use mainstay_types::{OperationId, TenantName, Timestamp};
use minicbor::{Decode, Encode};
use serde::Serialize;

use super::{BindingState, ClusterState, InstanceState, View};
use crate::event::{Idempotency, OperationKind, Subject};

/// One piece of long work that somebody asked for.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Operation {
    #[n(0)]
    pub id: OperationId,
    #[n(1)]
    pub tenant: TenantName,
    #[n(2)]
    pub kind: OperationKind,
    #[n(3)]
    pub subject: Subject,
    #[n(4)]
    pub idempotency: Option<Idempotency>,
    #[n(5)]
    pub state: OperationState,
    #[n(6)]
    pub created_at: Timestamp,
    #[n(7)]
    pub finished_at: Option<Timestamp>,
    /// What came of it, where that needs saying.
    #[n(8)]
    pub detail: Option<String>,
}

/// Where an operation stands.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum OperationState {
    #[n(0)]
    InProgress,
    #[n(1)]
    Succeeded,
    #[n(2)]
    Failed {
        /// A stable code, as in a problem document.
        #[n(0)]
        code: String,
        /// What is wrong and what to do.
        #[n(1)]
        detail: String,
    },
}

/// One part of an operation's work, for people who watch it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    pub name: &'static str,
    pub state: StepState,
}

/// Where one part of the work stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum StepState {
    #[serde(rename = "pending")]
    Pending,
    #[serde(rename = "in progress")]
    InProgress,
    #[serde(rename = "succeeded")]
    Succeeded,
    #[serde(rename = "failed")]
    Failed,
}

impl Operation {
    /// Whether nothing more will happen to it.
    pub fn is_finished(&self) -> bool {
        self.state != OperationState::InProgress
    }

    /// The parts of its work in their order, read off the state of what it is done to.
    pub fn steps(&self, view: &View) -> Vec<Step> {
        let parts: &[(&'static str, bool)] = &match self.kind {
            OperationKind::CreateInstance => {
                let instance = self.subject.id.parse().ok().and_then(|name| view.instance(&self.tenant, &name));
                let serving = instance
                    .and_then(|instance| view.cluster(&instance.cluster))
                    .is_some_and(|cluster| cluster.state == ClusterState::Ready);
                let made = instance.is_some_and(|instance| instance.state == InstanceState::Ready);
                vec![("start the cluster", serving || made), ("make the instance", made)]
            }
            OperationKind::DeleteInstance => {
                let instance = self.subject.id.parse().ok().and_then(|name| view.instance(&self.tenant, &name));
                let unbound = instance.is_none_or(|instance| view.bindings_of(instance).next().is_none());
                vec![("revoke the bindings", unbound), ("remove the data", instance.is_none())]
            }
            OperationKind::MoveInstance => {
                let instance = self.subject.id.parse().ok().and_then(|name| view.instance(&self.tenant, &name));
                let new = instance.and_then(|instance| view.cluster(instance.moving.as_ref()?));
                let serving = new.is_some_and(|cluster| cluster.identity.is_some());
                vec![("start the new cluster", serving), ("copy the data and take over", false)]
            }
            OperationKind::CreateBinding => {
                let binding = self.subject.id.parse().ok().and_then(|id| view.binding(&id));
                let made = binding.is_some_and(|binding| binding.state == BindingState::Ready);
                vec![("make the credential", made)]
            }
            OperationKind::CreateBackup => vec![("copy the data", false)],
            OperationKind::RestoreInstance => {
                let instance = self.subject.id.parse().ok().and_then(|name| view.instance(&self.tenant, &name));
                let made = instance.is_some_and(|instance| instance.state == InstanceState::Ready);
                let cluster = instance.and_then(|instance| instance.recovery.restoring.as_ref());
                let made = made || cluster.is_some_and(|restoring| restoring.whole_cluster);
                vec![("make the instance", made), ("bring the data back", false)]
            }
            OperationKind::RunDrill => vec![("restore into a scratch cluster and look at it", false)],
            OperationKind::RotateBinding => vec![("make the new credential", false)],
            OperationKind::DeleteBinding => vec![("end its sessions and remove the credential", false)],
        };
        let mut reached = false;
        let step = |&(name, done): &(&'static str, bool)| {
            let state = match &self.state {
                OperationState::Succeeded => StepState::Succeeded,
                _ if done => StepState::Succeeded,
                _ if std::mem::replace(&mut reached, true) => StepState::Pending,
                OperationState::Failed { .. } => StepState::Failed,
                OperationState::InProgress => StepState::InProgress,
            };
            Step { name, state }
        };
        parts.iter().map(step).collect()
    }
}
