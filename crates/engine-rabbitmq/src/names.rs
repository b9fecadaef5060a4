//! What things are called within a node.
//!
//! Ids consist of digits and lowercase letters, so that these names need no encoding in a path or a URI.

use mainstay_types::InstanceId;

/// The node. Its data is readable under this name alone; nodes on one machine do not meet, as each has its own epmd.
pub(crate) const NODE: &str = "mainstay@localhost";
/// The user that we come as.
pub(crate) const ADMIN: &str = "mainstay";
/// What limits and policies of ours are called in a virtual host.
pub(crate) const POLICY: &str = "mainstay";
/// The global parameter that carries the cluster's identity.
pub(crate) const MARKER: &str = "mainstay";

/// The virtual host of an instance.
pub(crate) fn virtual_host(instance: &InstanceId) -> String {
    format!("i_{}", instance.suffix())
}

/// Whether a user is one that a credential logs in as (see `CredentialSpec::username`).
pub(crate) fn is_credential(user: &str) -> bool {
    user.starts_with("b_")
}

/// Whether a virtual host is one of an instance.
pub(crate) fn is_instance(virtual_host: &str) -> bool {
    virtual_host.starts_with("i_")
}
