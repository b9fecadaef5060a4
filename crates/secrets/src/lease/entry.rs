//! Leases as they are kept.

use mainstay_secrets_engine::Lease;
use mainstay_types::{TenantName, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::token::TokenKey;

/// Tells a lease from every other: the tenant, and the id that the client has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct LeaseKey {
    pub(crate) tenant: TenantName,
    /// The path it was handed out at, and letters that nobody guesses.
    pub(crate) id: String,
}

/// One lease.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LeaseEntry {
    pub(crate) key: LeaseKey,
    /// The mount that handed it out, wherever it is mounted by now.
    pub(crate) mount: String,
    /// The token that it goes with.
    pub(crate) token: TokenKey,
    pub(crate) issued_at: Timestamp,
    pub(crate) expires_at: Timestamp,
    #[serde(default)]
    pub(crate) renewed_at: Option<Timestamp>,
    pub(crate) renewable: bool,
    pub(crate) ttl_seconds: u64,
    pub(crate) max_ttl_seconds: u64,
    /// What the backend needs to know.
    pub(crate) internal: Value,
    /// It is to be taken back, and is tried until it is.
    #[serde(default)]
    pub(crate) revoking: bool,
    /// How often that failed, and why it did last.
    #[serde(default)]
    pub(crate) failures: u32,
    #[serde(default)]
    pub(crate) last_failure: Option<String>,
}

impl LeaseKey {
    /// Where it is kept.
    pub(crate) fn path(&self) -> String {
        format!("lease/{}/{}", self.tenant, self.id)
    }

    /// The key of a lease that is kept at a path.
    pub(crate) fn at(path: &str) -> Option<Self> {
        let (tenant, id) = path.strip_prefix("lease/")?.split_once('/')?;
        Some(Self { tenant: tenant.parse().ok()?, id: id.to_owned() })
    }
}

impl LeaseEntry {
    /// The lease as its backend knows it.
    pub(crate) fn lease(&self) -> Lease {
        Lease {
            ttl_seconds: self.ttl_seconds,
            max_ttl_seconds: self.max_ttl_seconds,
            renewable: self.renewable,
            internal: self.internal.clone(),
        }
    }

    /// Where its token finds it.
    pub(crate) fn of_token(&self) -> String {
        let name = blake3::hash(self.key.path().as_bytes()).to_hex();
        format!("lease-of/{}/{name}", self.token.0)
    }

    /// The lease in the words of `sys/leases/lookup`.
    pub(crate) fn lookup(&self, now: Timestamp) -> Value {
        json!({
            "id": self.key.id,
            "issue_time": self.issued_at,
            "expire_time": self.expires_at,
            "last_renewal": self.renewed_at,
            "renewable": self.renewable && !self.revoking,
            "ttl": self.expires_at.seconds_since(now).round() as u64,
        })
    }
}
