//! Signed evidence: what a drill has shown, in a form that a stranger verifies with the public key alone.
//!
//! Evidence is a DSSE envelope (<https://github.com/secure-systems-lab/dsse>) around an in-toto statement, version 1
//! (<https://github.com/in-toto/attestation>), in canonical JSON (RFC 8785), signed with Ed25519 (RFC 8032). All of these are
//! deterministic: the same facts and the same key give the same bytes. `docs/evidence.md` has the form in full.
//!
//! Nothing here knows where facts come from, or where keys are kept.

mod bundle;
mod canonical;
mod envelope;
mod key;
mod statement;

pub use bundle::{Bundle, FORMAT};
pub use envelope::{Envelope, Flaw, PAYLOAD_TYPE, Signature};
pub use key::{KeyId, PublicKey, SigningKey, UnreadableKey};
pub use statement::{
    AssertionShown, CheckShown, Digests, DrillShown, Entry, InstanceShown, Measured, PREDICATE_TYPE,
    RecoveryPointShown, Statement, Subject,
};
