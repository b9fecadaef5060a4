//! What accounts are called.
//!
//! Ids consist of digits and lowercase letters, so that these names need no quoting in a file of the server's, and are a
//! directory's name and a token of a subject as they are.

use mainstay_types::InstanceId;

/// The server's own account: who is in it sees and asks everything of the server.
pub(crate) const SYSTEM_ACCOUNT: &str = "SYS";
/// The account that holds the cluster's identity.
pub(crate) const KEEPER_ACCOUNT: &str = "MAINSTAY";
/// Us in the server's own account.
pub(crate) const SYSTEM_USER: &str = "mainstay_system";
/// Us in the account that holds the cluster's identity.
pub(crate) const KEEPER_USER: &str = "mainstay_keeper";

/// The account of an instance.
pub(crate) fn account(instance: &InstanceId) -> String {
    format!("a_{}", instance.suffix())
}
