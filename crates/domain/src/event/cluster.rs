//! What happens to clusters and to the engine processes that serve them. The subject is the cluster's name.

use mainstay_types::{EngineName, NodeName, Parameters, Plan};
use minicbor::{Decode, Encode};
use serde::Serialize;

/// An instance needs a cluster that does not exist yet.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct ClusterRequested {
    #[n(0)]
    pub engine: EngineName,
    #[n(1)]
    pub plan: Plan,
    #[n(2)]
    pub node: NodeName,
    #[n(3)]
    pub port: u16,
    #[n(4)]
    pub parameters: Parameters,
}

/// The cluster was made and serves for the first time.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct ClusterReady {
    /// Tells its data from any other's: PostgreSQL's system identifier.
    #[n(0)]
    pub identity: String,
    #[n(1)]
    pub version: String,
}

/// The cluster does not serve as it should; the layer keeps trying.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct ClusterDegraded {
    #[n(0)]
    pub reason: String,
}

/// The cluster serves again without having been restarted.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct ClusterRecovered {
    #[n(0)]
    pub cause: String,
}

/// The cluster can not be made to serve; the layer tries rarely until a person acts.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct ClusterFailed {
    /// What is wrong and what to do.
    #[n(0)]
    pub reason: String,
}

/// The cluster is to be removed.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct ClusterRetired {}

/// The cluster and its data are gone.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct ClusterDeleted {}

/// The engine did not run when the control plane came to look for it, whatever had ended it, and serves again.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct EngineStarted {
    #[n(0)]
    pub version: String,
}

/// The engine's process ended unasked, and serves again.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct EngineRestarted {
    /// How it ended.
    #[n(0)]
    pub cause: String,
    /// From the moment its end was noticed until it served again.
    #[n(1)]
    pub downtime_milliseconds: u64,
    #[n(2)]
    pub version: String,
}

/// Settings had been changed by another hand, and were brought back.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct EngineReconfigured {
    /// What was found, a sentence each.
    #[n(0)]
    pub changes: Vec<String>,
}
