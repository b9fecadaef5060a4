//! What databases and roles are called.
//!
//! Ids consist of digits and lowercase letters, so that these names need no quoting in a statement.

use mainstay_types::InstanceId;

/// The superuser, as whom we come over the Unix socket.
pub(crate) const ADMIN_ROLE: &str = "mainstay";
/// Who restores an instance and asks what its owner asserts: a member of that owner and no more, made for the occasion.
pub(crate) const RESTORER_ROLE: &str = "mainstay_restorer";
/// The slot by which a server keeps its log for us.
pub(crate) const LOG_SLOT: &str = "mainstay_log";
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

/// Where an instance's data is restored to before it takes its name.
pub(crate) fn new_database(instance: &InstanceId) -> String {
    format!("new_{}", instance.suffix())
}

/// What an instance's database is called from when it was replaced until it is removed.
pub(crate) fn old_database(instance: &InstanceId) -> String {
    format!("old_{}", instance.suffix())
}
