//! What accounts are called.
//!
//! Ids consist of digits and lowercase letters, so that these names need no quoting in a file of the server's, and are a
//! directory's name and a token of a subject as they are.
//!
//! The name of an account can not be guessed, and is told to nobody but those who are in it. Servers before 2.10.27 let
//! every account ask for `$JS.API.ACCOUNT.PURGE.NAME` (CVE-2025-30215), and what a client is forbidden to ask, a stream of
//! its own asks that republishes to that subject. Who does not know a name has nothing to ask for.

use mainstay_types::{Digest, InstanceId};
use secrecy::{ExposeSecret, SecretString};

/// The server's own account: who is in it sees and asks everything of the server.
pub(crate) const SYSTEM_ACCOUNT: &str = "SYS";
/// What the name of the account begins with that holds the cluster's identity. No instance's does.
pub(crate) const KEEPER_PREFIX: &str = "MAINSTAY_";
/// Us in the server's own account.
pub(crate) const SYSTEM_USER: &str = "mainstay_system";
/// Us in the account that holds the cluster's identity.
pub(crate) const KEEPER_USER: &str = "mainstay_keeper";

/// How many hexadecimal digits of a name are secret: 128 bits.
const SECRET_DIGITS: usize = 32;

/// The account of an instance on the cluster with this secret.
pub(crate) fn account(secret: &SecretString, instance: &InstanceId) -> String {
    let suffix = instance.suffix();
    format!("a_{suffix}_{}", derived(secret, suffix))
}

/// The account that holds the identity of the cluster with this secret.
pub(crate) fn keeper(secret: &SecretString) -> String {
    format!("{KEEPER_PREFIX}{}", derived(secret, "keeper"))
}

fn derived(secret: &SecretString, what: &str) -> String {
    // The secret comes first and has one length, so that no two pairs make the same text.
    let digest = Digest::of(format!("{}:{what}", secret.expose_secret()).as_bytes());
    let digits = digest.as_bytes().iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.take(SECRET_DIGITS).map(|digit| char::from_digit(digit.into(), 16).unwrap_or('0')).collect()
}

#[cfg(test)]
mod tests {
    use mainstay_types::InstanceId;

    use super::{account, keeper};

    #[test]
    fn a_name_is_the_instances_and_the_clusters() {
        let (one, two) = (InstanceId::from_random(1), InstanceId::from_random(2));
        let name = account(&"secret".into(), &one);
        assert!(name.starts_with(&format!("a_{}_", one.suffix())));
        assert_eq!(name.len(), 2 + 12 + 1 + 32);
        assert_eq!(name, account(&"secret".into(), &one));
        assert_ne!(name[15..], account(&"secret".into(), &two)[15..]);
        assert_ne!(name[15..], account(&"other".into(), &one)[15..]);
        assert_ne!(keeper(&"secret".into()), keeper(&"other".into()));
    }
}
