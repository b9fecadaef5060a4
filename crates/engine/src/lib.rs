//! What every engine is to the control plane: one trait, one way to supervise processes, one conformance suite.

mod certificate;
#[allow(clippy::unwrap_used, reason = "the suite is a test that happens to be a library")]
pub mod conformance;
mod contract;
pub mod fake;
pub mod recovery;
pub mod supervise;
mod verifiers;

pub use certificate::{CertificateAuthority, CertificateFiles, IssuedCertificate};
pub use contract::{
    Availability, ClusterSpec, CredentialSpec, Engine, EngineError, Following, InstanceSpec, StartKind, Started,
};
pub use verifiers::Verifiers;
