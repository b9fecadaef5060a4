//! Clusters as the view holds them.

use mainstay_types::{ClusterName, EngineName, NodeName, Parameters, Plan, TenantName, Timestamp};
use minicbor::{Decode, Encode};
use serde::Serialize;

/// One running deployment of an engine.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Cluster {
    #[n(0)]
    pub name: ClusterName,
    /// Whose it is, for a dedicated one.
    #[n(1)]
    pub tenant: Option<TenantName>,
    #[n(2)]
    pub engine: EngineName,
    #[n(3)]
    pub plan: Plan,
    #[n(4)]
    pub node: NodeName,
    #[n(5)]
    pub port: u16,
    #[n(6)]
    pub parameters: Parameters,
    #[n(7)]
    pub state: ClusterState,
    /// Why it is in this state, where that needs saying.
    #[n(8)]
    pub reason: Option<String>,
    /// What its engine said of it when it first served. A cluster with an identity is never initialised again.
    #[n(9)]
    pub identity: Option<String>,
    #[n(10)]
    pub version: Option<String>,
    #[n(11)]
    pub created_at: Timestamp,
}

/// How a cluster is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(index_only)]
#[serde(rename_all = "lowercase")]
pub enum ClusterState {
    /// It is to be made.
    #[n(0)]
    Requested,
    #[n(1)]
    Ready,
    /// It does not serve as it should, and the layer keeps trying.
    #[n(2)]
    Degraded,
    /// It can not be made to serve until a person acts; the layer tries rarely.
    #[n(3)]
    Failed,
    /// It is being removed.
    #[n(4)]
    Retired,
}

impl std::fmt::Display for ClusterState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Requested => "requested",
            Self::Ready => "ready",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
            Self::Retired => "retired",
        })
    }
}
