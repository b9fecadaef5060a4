//! What is mounted where, one table for each tenant.

mod namespace;
mod record;

pub(crate) use namespace::{Mounted, Namespace, Namespaces, Served, no_mount};
pub(crate) use record::{DEFAULT_LEASE_SECONDS, MountRecord, check_path};
