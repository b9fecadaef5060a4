//! The words every other crate speaks: names, ids, addresses, generations, digests and time.
//!
//! Outside text becomes one of these types once, at the edge, and is trusted from there on. Every type here
//! is small, has private fields, and encodes to CBOR and JSON as the plain text or number that it stands for.

mod assertion;
mod chain;
mod contract;
mod digest;
mod id;
mod name;
mod observation;
mod offering;
mod parameters;
mod role;
mod text;
mod time;

pub use assertion::{ASSERTIONS_PARAMETER, Assertion, Assertions, InvalidAssertions};
pub use chain::chain;
pub use contract::{ContractRef, EngineName, Plan};
pub use digest::Digest;
pub use id::{BackupId, BindingId, InstanceId, OperationId, TokenId};
pub use name::{ClusterName, ConsumerName, EnvironmentName, InstanceName, NodeName, TenantName};
pub use observation::{CredentialObservation, Health, Observation, Presence};
pub use offering::{Offering, ParameterKind, ParameterSpec};
pub use parameters::Parameters;
pub use role::{Role, TenantScope};
pub use text::InvalidText;
pub use time::Timestamp;

/// The position of an event in the journal. The first event has sequence 1; 0 means "before the first".
pub type Sequence = u64;

/// Counts the credentials that a binding has had. The first is generation 1; rotation makes the next.
pub type Generation = u32;
