//! What happens to instances. The subject is the instance's name.

use mainstay_types::{ClusterName, ContractRef, EngineName, EnvironmentName, InstanceId, Parameters, Plan};
use minicbor::{Decode, Encode};
use serde::Serialize;

/// Somebody asked for an instance.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct InstanceRequested {
    #[n(0)]
    pub instance: InstanceId,
    #[n(1)]
    pub environment: EnvironmentName,
    #[n(2)]
    pub contract: ContractRef,
    #[n(3)]
    pub engine: EngineName,
    #[n(4)]
    pub plan: Plan,
    #[n(5)]
    pub cluster: ClusterName,
    #[n(6)]
    pub parameters: Parameters,
}

/// The instance exists on its cluster and can be bound.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct InstanceReady {
    #[n(0)]
    pub instance: InstanceId,
}

/// The instance was not as it should be, and was brought back.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct InstanceRepaired {
    #[n(0)]
    pub instance: InstanceId,
    /// What was found.
    #[n(1)]
    pub cause: String,
}

/// The instance can not be provided until a person acts.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct InstanceFailed {
    #[n(0)]
    pub instance: InstanceId,
    /// What is wrong and what to do.
    #[n(1)]
    pub reason: String,
}

/// Somebody asked for the instance to live on another cluster, which is made for it.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct InstanceMoveRequested {
    #[n(0)]
    pub instance: InstanceId,
    /// The engine that it is to have.
    #[n(1)]
    pub engine: EngineName,
    #[n(2)]
    pub plan: Plan,
    /// The cluster that it is to live on.
    #[n(3)]
    pub cluster: ClusterName,
}

/// The instance lives on another cluster, under the address that it had. Its bindings are what they were.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct InstanceMoved {
    #[n(0)]
    pub instance: InstanceId,
    #[n(1)]
    pub from_engine: EngineName,
    #[n(2)]
    pub engine: EngineName,
    #[n(3)]
    pub from_cluster: ClusterName,
    #[n(4)]
    pub cluster: ClusterName,
    /// The port that the cluster has from now on, which was the other one's.
    #[n(5)]
    pub port: u16,
    /// For how long writes waited while the one took over from the other.
    #[n(6)]
    pub write_pause_milliseconds: u64,
}

/// The instance can not live on the other cluster. It stays where it is.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct InstanceMoveFailed {
    #[n(0)]
    pub instance: InstanceId,
    /// What is wrong and what to do.
    #[n(1)]
    pub reason: String,
}

/// Somebody asked for the instance to be deleted.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct InstanceDeletionRequested {
    #[n(0)]
    pub instance: InstanceId,
    /// Whether its live bindings were to be revoked with it.
    #[n(1)]
    pub forced: bool,
}

/// The instance and its data are gone.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct InstanceDeleted {
    #[n(0)]
    pub instance: InstanceId,
}
