//! Secret custody as its clients see it: the Vault HTTP API, without the HTTP.
//!
//! [`Secrets::handle`] takes a [`Call`] through its token, its namespace (a tenant), its mount, its policies and the
//! audit log to the engine that serves it, makes the lease or the token that the answer needs, and gives the [`Reply`].
//! Everything it keeps is behind custody's barrier. While custody is sealed it knows nothing.

mod allow;
mod asked;
mod audit;
mod call;
mod cubbyhole;
mod directory;
mod draw;
mod envelope;
mod key_file;
mod kinds;
mod lease;
mod mount;
mod network;
mod open;
mod outcome;
mod policies;
mod residue;
mod serve;
mod service;
mod system;
mod token;
mod witness;
mod wrapping;

pub use audit::AuditFile;
pub use call::{Body, Call, Method, Reply};
pub use directory::{LayerToken, TokenDirectory};
pub use key_file::KeyFile;
pub use mainstay_custody::{RestoreError, SnapshotError, SnapshotSummary, Target};
pub use mainstay_secrets_engine::parse_duration;
pub use service::{RoleBearer, Secrets};
pub use witness::{CustodyEvent, Witness};
