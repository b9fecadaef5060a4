//! Tokens as they are kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use mainstay_types::{TenantScope, Timestamp, TokenId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a token is known by at rest: a keyed hash of its text. For a token of the native API it is its id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct TokenKey(pub(crate) String);

/// What a token is and may do. The token itself is nowhere in it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct TokenEntry {
    pub(crate) accessor: TokenId,
    pub(crate) scope: TenantScope,
    pub(crate) policies: Vec<String>,
    /// Where it was made: `auth/token/create`, `auth/approle/login`.
    pub(crate) path: String,
    #[serde(default)]
    pub(crate) meta: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) display_name: String,
    /// The token that made it and takes it along when it ends; none for an orphan.
    #[serde(default)]
    pub(crate) parent: Option<TokenKey>,
    pub(crate) created_at: Timestamp,
    /// None for a root token, which lives until it is revoked.
    #[serde(default)]
    pub(crate) expires_at: Option<Timestamp>,
    #[serde(default)]
    pub(crate) renewed_at: Option<Timestamp>,
    /// What it was given when it was made or renewed.
    #[serde(default)]
    pub(crate) ttl_seconds: u64,
    /// Renewals do not reach beyond this time after its creation; 0 where only the mount says how far.
    #[serde(default)]
    pub(crate) max_ttl_seconds: u64,
    #[serde(default)]
    pub(crate) explicit_max_ttl_seconds: u64,
    #[serde(default)]
    pub(crate) period_seconds: u64,
    #[serde(default)]
    pub(crate) renewable: bool,
    /// How often it may still be used; 0 where it may be used for ever.
    #[serde(default)]
    pub(crate) num_uses: u64,
    #[serde(default)]
    pub(crate) bound_cidrs: Vec<String>,
    /// The role of `auth/token/roles` that it was made with.
    #[serde(default)]
    pub(crate) role: Option<String>,
    /// What its auth method has to see again when it is renewed.
    #[serde(default)]
    pub(crate) login_internal: Value,
    #[serde(default)]
    pub(crate) kind: TokenKind,
    /// Set first when it is revoked: from then on it is refused, and what hangs on it is taken back until all is gone.
    #[serde(default)]
    pub(crate) revoking: bool,
}

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TokenKind {
    #[default]
    Service,
    /// Opens one wrapped answer.
    Wrapping,
    /// Made by the native API, and kept in the journal.
    Layer,
}

/// A token that was presented, and what is known of it.
#[derive(Clone)]
pub(crate) struct Bearer {
    pub(crate) key: TokenKey,
    pub(crate) entry: Arc<TokenEntry>,
    /// This request takes the last of its uses.
    pub(crate) is_used_up: bool,
}

impl Bearer {
    pub(crate) fn new(key: TokenKey, entry: Arc<TokenEntry>) -> Self {
        Self { key, entry, is_used_up: false }
    }
}

impl TokenKey {
    /// What the keys of tokens of the native API begin with, a folder of their own wherever keys are in paths. A hash
    /// never begins so.
    pub(crate) const LAYER: &str = "layer/";

    /// The key of a token of the native API.
    pub(crate) fn of_layer(id: &TokenId) -> Self {
        Self(format!("{}{id}", Self::LAYER))
    }
}

impl TokenEntry {
    pub(crate) fn is_root(&self) -> bool {
        self.policies.iter().any(|policy| policy == "root")
    }

    pub(crate) fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|expires_at| expires_at <= now)
    }

    /// Whole seconds that are left, 0 where it does not end.
    pub(crate) fn seconds_left(&self, now: Timestamp) -> u64 {
        self.expires_at.map_or(0, |expires_at| expires_at.seconds_since(now).round() as u64)
    }

    /// The token in the words of `auth/token/lookup`. `id` is the token itself where the caller showed it.
    pub(crate) fn lookup(&self, id: &str, now: Timestamp) -> Value {
        let mut data = serde_json::json!({
            "id": id,
            "accessor": self.accessor,
            "policies": self.policies,
            "path": self.path,
            "meta": if self.meta.is_empty() { Value::Null } else { serde_json::json!(self.meta) },
            "display_name": self.display_name,
            "num_uses": self.num_uses,
            "orphan": self.parent.is_none(),
            "creation_time": self.created_at.as_micros() / 1_000_000,
            "creation_ttl": self.ttl_seconds,
            "expire_time": self.expires_at,
            "ttl": self.seconds_left(now),
            "explicit_max_ttl": self.explicit_max_ttl_seconds,
            "entity_id": "",
            "type": "service",
        });
        // Vault leaves these out where they say nothing.
        let mut add = |name: &str, value: Value| data[name] = value;
        if self.expires_at.is_some() {
            add("renewable", self.renewable.into());
            add("issue_time", serde_json::json!(self.created_at));
        }
        if let Some(renewed_at) = self.renewed_at {
            add("last_renewal", serde_json::json!(renewed_at));
            add("last_renewal_time", (renewed_at.as_micros() / 1_000_000).into());
        }
        if self.period_seconds > 0 {
            add("period", self.period_seconds.into());
        }
        if !self.bound_cidrs.is_empty() {
            add("bound_cidrs", serde_json::json!(self.bound_cidrs));
        }
        if let Some(role) = &self.role {
            add("role", role.as_str().into());
        }
        if let Some(tenant) = self.scope.tenant() {
            add("namespace_path", format!("{tenant}/").into());
        }
        data
    }
}
