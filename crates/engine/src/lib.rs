//! What every engine is to the control plane: one trait, one way to supervise processes, one conformance suite.

mod contract;

pub use contract::{Availability, ClusterSpec, CredentialSpec, Engine, EngineError, InstanceSpec, StartKind, Started};
