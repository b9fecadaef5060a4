//! The accounts and users that a cluster is to have, and how they change. Pure.

use std::collections::BTreeMap;
use std::fmt;

use mainstay_engine::EngineError;
use mainstay_types::Timestamp;
use serde::{Deserialize, Serialize};

use crate::capacity::Capacity;
use crate::offering::Limits;

/// The version of `accounts.json`.
pub(crate) const FORMAT: u32 = 1;

/// What the names of users of ours begin with that come into an instance's account for a while. No credential's does.
pub(crate) const GUEST_PREFIX: &str = "r_";

/// All accounts of instances, and how we come in ourselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Accounts {
    pub format: u32,
    /// What the server checks our own password with.
    pub administrator: Verifier,
    /// By name.
    pub accounts: BTreeMap<String, Account>,
}

/// An instance's account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Account {
    pub limits: Limits,
    /// Whether it is being removed: nobody comes in while its streams are deleted.
    pub closing: bool,
    /// Whether its streams are being replaced by those of a backup, so that some may be missing: nobody comes in but who does that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restoring: bool,
    /// By name.
    pub users: BTreeMap<String, User>,
}

/// A credential's user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct User {
    pub verifier: Verifier,
    /// The server does not know it; it is kept so that what is wanted can be held against it.
    pub valid_until: Timestamp,
}

/// A password's bcrypt hash. No password can be computed from it, and all the same it is shown nowhere.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Verifier(String);

/// One change of the accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// There is an account with these limits, which nobody comes into yet. The server has to read of it before it reads of a user in
    /// it: 2.9.10 ends with a nil pointer when somebody asks `$SYS.REQ.SERVER.PING.CONNZ` whose account is as new as himself.
    Open { account: String, limits: Limits },
    /// Nobody comes into the account any more.
    Close { account: String },
    /// Nobody comes into the account but a guest, or everybody again.
    Restore { account: String, restoring: bool },
    /// There is no such account.
    Forget { account: String },
    /// The user comes in with this password.
    Admit { account: String, user: String, credential: User },
    /// The user does not come in any more.
    Dismiss { account: String, user: String },
}

impl Accounts {
    /// No account but ours.
    pub fn new(administrator: Verifier) -> Self {
        Self { format: FORMAT, administrator, accounts: BTreeMap::new() }
    }

    /// Without the users of ours that a control plane has left which is gone.
    pub fn without_guests(mut self) -> Self {
        for account in self.accounts.values_mut() {
            account.users.retain(|name, _| !name.starts_with(GUEST_PREFIX));
        }
        self
    }

    /// Makes one change. One that is refused changes nothing.
    pub fn apply(&mut self, change: Change, capacity: &Capacity) -> Result<(), EngineError> {
        match change {
            Change::Open { account, limits } => self.open(account, limits, capacity)?,
            Change::Close { account } => {
                // One that is not known may have left streams behind, and has to be there for them to be deleted.
                let closed = Account { limits: Limits::LEAST, closing: true, restoring: false, users: BTreeMap::new() };
                let account = self.accounts.entry(account).or_insert(closed);
                account.closing = true;
                account.users.clear();
            }
            Change::Restore { account, restoring } => {
                let open = self.accounts.get_mut(&account).filter(|account| !account.closing);
                let open = open.ok_or_else(|| EngineError::transient("the instance to be restored is not there"))?;
                open.restoring = restoring;
            }
            Change::Forget { account } => drop(self.accounts.remove(&account)),
            Change::Admit { account, user, credential } => {
                let open = self.accounts.get_mut(&account).filter(|account| !account.closing);
                let Some(open) = open else {
                    return Err(EngineError::transient(format!(
                        "credential {user} is for an instance that is not there"
                    )));
                };
                open.users.insert(user, credential);
            }
            Change::Dismiss { account, user } => {
                if let Some(account) = self.accounts.get_mut(&account) {
                    account.users.remove(&user);
                }
            }
        }
        Ok(())
    }

    fn open(&mut self, name: String, limits: Limits, capacity: &Capacity) -> Result<(), EngineError> {
        let promised = |account: &(&String, &Account)| *account.0 != name;
        let others: Vec<&Limits> = self.accounts.iter().filter(promised).map(|(_, account)| &account.limits).collect();
        let before = self.accounts.get(&name).map(|account| account.limits);
        capacity.check(&others, before.as_ref(), &limits)?;
        let open = Account { limits, closing: false, restoring: false, users: BTreeMap::new() };
        let account = self.accounts.entry(name).or_insert(open);
        account.limits = limits;
        account.closing = false;
        Ok(())
    }
}

impl Account {
    /// Who comes in now, by name.
    pub fn admitted(&self) -> impl Iterator<Item = (&String, &User)> {
        self.users.iter().filter(|(name, _)| !self.restoring || name.starts_with(GUEST_PREFIX))
    }
}

impl Verifier {
    /// Rounds of bcrypt, as a power of two: the fewest that it takes. The passwords are random and not guessed with fewer
    /// either, and the server computes it at every connect, and for every open connection at every reload.
    const COST: u32 = 4;

    /// What a password is checked with.
    pub fn of(password: &str) -> Result<Self, EngineError> {
        // bcrypt looks at 72 bytes, one of which ends the text; what it would not look at is refused.
        let hash = bcrypt::non_truncating_hash_with_result(password, Self::COST).map_err(|_| {
            EngineError::permanent(
                "the password has more than the 71 bytes that NATS checks",
                "give the credential a shorter one",
            )
        })?;
        Ok(Self(hash.format_for_version(bcrypt::Version::TwoA)))
    }

    /// The same, where that is what this password is checked with; else another.
    pub fn kept(self, password: &str) -> Result<Self, EngineError> {
        if bcrypt::verify(password, &self.0).unwrap_or(false) { Ok(self) } else { Self::of(password) }
    }

    /// For the server's file.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier")
    }
}

#[cfg(test)]
mod tests {
    use mainstay_types::{Parameters, Timestamp};

    use super::{Accounts, Change, User, Verifier};
    use crate::capacity::Capacity;
    use crate::offering::Limits;

    fn accounts() -> Accounts {
        Accounts::new(Verifier("$2a$04$x".to_owned()))
    }

    fn open(account: &str) -> Change {
        Change::Open { account: account.to_owned(), limits: Limits::of(&Parameters::default()) }
    }

    fn admit(account: &str, user: &str) -> Change {
        let credential = User { verifier: Verifier("$2a$04$y".to_owned()), valid_until: Timestamp::EPOCH };
        Change::Admit { account: account.to_owned(), user: user.to_owned(), credential }
    }

    #[test]
    fn changes_can_be_repeated() {
        let mut accounts = accounts();
        let changes = [
            open("a"),
            admit("a", "u"),
            open("a"),
            Change::Dismiss { account: "a".to_owned(), user: "u".to_owned() },
            Change::Dismiss { account: "b".to_owned(), user: "u".to_owned() },
            Change::Close { account: "a".to_owned() },
            Change::Forget { account: "a".to_owned() },
        ];
        let mut users = Vec::new();
        for change in changes {
            accounts.apply(change.clone(), &Capacity::UNBOUNDED).unwrap();
            let after = accounts.clone();
            accounts.apply(change, &Capacity::UNBOUNDED).unwrap();
            assert_eq!(accounts, after);
            users.push(accounts.accounts.get("a").map(|account| account.users.len()));
        }
        assert_eq!(users, [Some(0), Some(1), Some(1), Some(0), Some(0), Some(0), None]);
    }

    #[test]
    fn nobody_is_admitted_where_no_instance_is() {
        let mut accounts = accounts();
        accounts.apply(admit("a", "u"), &Capacity::UNBOUNDED).unwrap_err();
        accounts.apply(open("a"), &Capacity::UNBOUNDED).unwrap();
        accounts.apply(admit("a", "u"), &Capacity::UNBOUNDED).unwrap();
        accounts.apply(Change::Close { account: "a".to_owned() }, &Capacity::UNBOUNDED).unwrap();
        assert!(accounts.accounts["a"].users.is_empty());
        accounts.apply(admit("a", "u"), &Capacity::UNBOUNDED).unwrap_err();
    }

    #[test]
    fn a_verifier_is_kept_while_its_password_is() {
        let verifier = Verifier::of("one").unwrap();
        assert!(verifier.as_str().starts_with("$2a$04$"));
        assert_eq!(verifier.clone().kept("one").unwrap(), verifier);
        assert_ne!(verifier.clone().kept("two").unwrap(), verifier);
        assert!(!format!("{verifier:?}").contains("$2a"));
        Verifier::of(&"x".repeat(71)).unwrap();
        Verifier::of(&"x".repeat(73)).unwrap_err();
    }

    #[test]
    fn the_first_format_is_read() {
        let text = include_str!("../tests/formats/accounts-1.json");
        let accounts: Accounts = serde_json::from_str(text).unwrap();
        assert_eq!(accounts.format, 1);
        assert_eq!(accounts.accounts["a_000000000001_x"].users.len(), 1);
        assert_eq!(serde_json::to_string_pretty(&accounts).unwrap(), text.trim_end());
    }
}
