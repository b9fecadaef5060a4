//! Instances as the view holds them.

use mainstay_types::{
    ASSERTIONS_PARAMETER, Assertions, ClusterName, ContractRef, EngineName, EnvironmentName, InstanceId, InstanceName,
    Parameters, Plan, TenantName, Timestamp,
};
use minicbor::{Decode, Encode};
use serde::Serialize;

use super::{Cluster, ClusterState, InstanceKey, Recovery};

/// What a consumer owns.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Instance {
    #[n(0)]
    pub id: InstanceId,
    #[n(1)]
    pub tenant: TenantName,
    #[n(2)]
    pub name: InstanceName,
    #[n(3)]
    pub environment: EnvironmentName,
    #[n(4)]
    pub contract: ContractRef,
    #[n(5)]
    pub engine: EngineName,
    #[n(6)]
    pub plan: Plan,
    #[n(7)]
    pub cluster: ClusterName,
    #[n(8)]
    pub parameters: Parameters,
    #[n(9)]
    pub state: InstanceState,
    /// Why it is in this state, where that needs saying.
    #[n(10)]
    pub reason: Option<String>,
    #[n(11)]
    pub created_at: Timestamp,
    /// The cluster that it is to live on, while it moves.
    #[n(12)]
    pub moving: Option<ClusterName>,
    #[n(13)]
    pub recovery: Recovery,
    /// When somebody wanted it gone: nothing that is newer is its own.
    #[n(14)]
    pub unwanted_since: Option<Timestamp>,
    /// The clusters that it lived on before, as far as there were backups of them when it moved last.
    #[n(15)]
    pub former: Vec<ClusterName>,
}

/// How far the layer has come with an instance itself; [`Instance::visible_state`] adds how its cluster is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum InstanceState {
    #[n(0)]
    Requested,
    #[n(1)]
    Ready,
    #[n(2)]
    Failed,
    #[n(3)]
    Deleting,
}

/// The state that consumers see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum VisibleState {
    /// It waits for its cluster.
    Requested,
    /// It is being made.
    Provisioning,
    Ready,
    /// It exists, and its cluster does not serve it well.
    Degraded,
    Failed,
    Deleting,
}

impl Instance {
    /// What it is found by.
    pub fn key(&self) -> InstanceKey {
        (self.tenant.clone(), self.name.clone())
    }

    /// Its parameters as they are asked for and shown: the engine's, and what its recovery policy has of them.
    pub fn shown_parameters(&self) -> Parameters {
        let assertions = &self.recovery.policy.assertions;
        match assertions.is_empty() {
            true => self.parameters.clone(),
            false => self.parameters.clone().with(ASSERTIONS_PARAMETER, Assertions(assertions.clone()).to_string()),
        }
    }

    /// The state that consumers see, and the reason where there is one.
    pub fn visible_state<'a>(&'a self, cluster: Option<&'a Cluster>) -> (VisibleState, Option<&'a str>) {
        let cluster_reason = cluster.and_then(|cluster| cluster.reason.as_deref());
        let cluster_state = cluster.map(|cluster| cluster.state);
        match (self.state, cluster_state) {
            (InstanceState::Deleting, _) => (VisibleState::Deleting, self.reason.as_deref()),
            (InstanceState::Failed, _) => (VisibleState::Failed, self.reason.as_deref()),
            (_, Some(ClusterState::Failed)) => (VisibleState::Failed, cluster_reason),
            (InstanceState::Requested, Some(ClusterState::Ready)) => (VisibleState::Provisioning, None),
            (InstanceState::Requested, _) => (VisibleState::Requested, cluster_reason),
            (InstanceState::Ready, Some(ClusterState::Ready)) => (VisibleState::Ready, self.recovery.lost.as_deref()),
            (InstanceState::Ready, _) => (VisibleState::Degraded, cluster_reason),
        }
    }
}

impl std::fmt::Display for VisibleState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Requested => "requested",
            Self::Provisioning => "provisioning",
            Self::Ready => "ready",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
            Self::Deleting => "deleting",
        })
    }
}
