//! The contract of secrets engines and auth methods, as the Vault HTTP API knows them.
//!
//! A [`Kind`] opens one [`Backend`] for each mount, with a [`Storage`] of its own that it cannot see beyond. Whoever
//! serves the API has done the rest before a request arrives: the token is known, its policies allow the path, the
//! request is in the audit log. What an engine answers becomes Vault's envelope; where it answers a lease or a login,
//! the lease or the token is made for it.

mod answer;
mod backend;
mod fields;
mod refusal;
mod request;
mod storage;

pub use answer::{Answer, Lease, Login, Raw, TokenType};
pub use backend::{Backend, Class, Globs, Kind};
pub use fields::{Fields, go_duration, parse_duration};
pub use refusal::{Fault, Refusal};
pub use request::{Caller, Mount, Operation, Request};
pub use storage::{Batch, Storage, Stored};
