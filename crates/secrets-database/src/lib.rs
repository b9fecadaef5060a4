//! The `database` secrets engine of the Vault API, on the layer's own instances.
//!
//! A credential that it gives out is a binding of the layer: the journal knows it, the reconcile loop makes it, repairs
//! it and ends it, over crashes and while the engine is down. This crate keeps what the API calls configurations and
//! roles, and asks [`Databases`] for the rest.
//!
//! It differs from Vault in this:
//! - a configuration names an instance of the tenant (`connection_url="mainstay://INSTANCE"` or `instance=INSTANCE`) and
//!   holds no address, user or password: the layer has its own way in;
//! - creation statements run as the instance's owner, not as a superuser. The one that makes the user is left to the layer;
//! - a static role's user is made with the role and has a name that the layer gives it; its password is replaced in place.

mod backend;
mod databases;
mod names;
mod paths;
mod records;
mod rotation;

pub use backend::DatabaseKind;
pub use databases::{Credential, Databases, NewCredential};
