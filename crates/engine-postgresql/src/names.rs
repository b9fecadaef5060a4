//! What databases and roles are called.
//!
//! Ids consist of digits and lowercase letters, so that these names need no quoting in a statement.

use mainstay_types::InstanceId;

/// The superuser, as whom we come over the Unix socket.
pub(crate) const ADMIN_ROLE: &str = "mainstay";
/// The database that we talk to.
pub(crate) const ADMIN_DATABASE: &str = "postgres";
/// The database that instances are copied from.
pub(crate) const TEMPLATE_DATABASE: &str = "template1";

/// The database of an instance.
pub(crate) fn database(instance: &InstanceId) -> String {
    format!("db_{}", instance.suffix())
}

/// The role that owns an instance's database and all that is in it.
pub(crate) fn owner(instance: &InstanceId) -> String {
    format!("o_{}", instance.suffix())
}
