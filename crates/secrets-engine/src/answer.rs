//! What a backend answers.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// An answer; nothing at all is `204 No Content`.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// The envelope's `data`.
    pub data: Option<Map<String, Value>>,
    /// What was handed out has to be taken back one day.
    pub lease: Option<Lease>,
    /// For how long a client may keep what it read, where nothing has to be taken back: `lease_duration` without a
    /// `lease_id`. Not together with a lease.
    pub keep_seconds: Option<u64>,
    /// Somebody logged in: a token is made for them.
    pub login: Option<Login>,
    pub warnings: Vec<String>,
    /// Another status than 200 or 204, with the same body: a deleted version of a KV secret is a 404 with its metadata.
    pub status: Option<u16>,
    /// Not JSON at all: certificates and revocation lists. Takes the place of everything else.
    pub raw: Option<Raw>,
}

/// What was handed out for a time.
#[derive(Debug, Clone)]
pub struct Lease {
    /// How long; the mount's default where it is 0.
    pub ttl_seconds: u64,
    /// How long at most, renewals included; the mount's longest where it is 0.
    pub max_ttl_seconds: u64,
    pub renewable: bool,
    /// What the backend needs to know to renew or revoke it. Kept behind the barrier.
    pub internal: Value,
}

/// What somebody who logged in may do.
#[derive(Debug, Clone, Default)]
pub struct Login {
    pub policies: Vec<String>,
    /// Shown with the token: `role_name`, `username`.
    pub metadata: BTreeMap<String, String>,
    pub display_name: String,
    /// Who it is to this method: a role id, a user's name, a subject.
    pub alias: String,
    /// How long; the mount's default where it is 0.
    pub ttl_seconds: u64,
    /// How long at most, renewals included; the mount's longest where it is 0.
    pub max_ttl_seconds: u64,
    /// Renewals do not go beyond this, whatever else; 0 means no such limit.
    pub explicit_max_ttl_seconds: u64,
    /// A token with a period has no longest life, and is renewed to this each time; 0 means none.
    pub period_seconds: u64,
    pub num_uses: u64,
    pub not_renewable: bool,
    pub no_default_policy: bool,
    /// The networks that the token may come from, in CIDR notation; everywhere where there is none.
    pub bound_cidrs: Vec<String>,
    pub token_type: TokenType,
    /// What the method needs to know when the token is renewed. Kept behind the barrier.
    pub internal: Value,
}

/// What kind of token a login makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TokenType {
    /// Stored, renewable, revocable.
    #[default]
    Service,
    /// Sealed into itself: not stored, not renewable.
    Batch,
}

/// A body that is not JSON.
#[derive(Debug, Clone)]
pub struct Raw {
    pub content_type: &'static str,
    pub body: Vec<u8>,
}

impl Answer {
    /// Nothing to say: `204 No Content`.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// An object. `serde_json::json!({..})` goes in here.
    ///
    /// Anything else than an object is a mistake of the backend's, and gives an empty one.
    pub fn data(object: Value) -> Self {
        let data = match object {
            Value::Object(data) => data,
            _ => Map::new(),
        };
        Self { data: Some(data), ..Self::default() }
    }

    /// A list of keys, as `LIST` answers it.
    pub fn keys(keys: Vec<String>) -> Self {
        Self::data(serde_json::json!({ "keys": keys }))
    }

    /// A body that is not JSON.
    pub fn raw(content_type: &'static str, body: Vec<u8>) -> Self {
        Self { raw: Some(Raw { content_type, body }), ..Self::default() }
    }

    /// Somebody logged in.
    pub fn login(login: Login) -> Self {
        Self { login: Some(login), ..Self::default() }
    }

    /// The same with a lease.
    pub fn leased(self, lease: Lease) -> Self {
        Self { lease: Some(lease), ..self }
    }

    /// The same with a warning.
    pub fn warning(mut self, warning: impl Into<String>) -> Self {
        self.warnings.push(warning.into());
        self
    }

    /// The same with another status.
    pub fn status(self, status: u16) -> Self {
        Self { status: Some(status), ..self }
    }
}
