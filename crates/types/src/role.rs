//! What a token may do, and where.

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::{InvalidText, TenantName};

/// What the bearer of a token may do. Each role may do what the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads everything but secrets.
    #[n(0)]
    Viewer,
    /// Creates and deletes instances, binds and rotates.
    #[n(1)]
    Operator,
    /// Makes and revokes tokens too.
    #[n(2)]
    Admin,
}

impl Role {
    /// The role's name, as people write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Admin => "admin",
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for Role {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Role::Viewer, Role::Operator, Role::Admin]
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| InvalidText::new("role", text, "the roles are viewer, operator and admin"))
    }
}

/// Which tenants a token may act in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TenantScope {
    /// Every tenant; the caller names one with each request, or means `default`. Written `*`.
    Any,
    /// This tenant alone; to its bearer the others do not exist.
    One(TenantName),
}

impl TenantScope {
    /// Whether a bearer with this scope may act in a tenant.
    pub fn covers(&self, tenant: &TenantName) -> bool {
        match self {
            TenantScope::Any => true,
            TenantScope::One(own) => own == tenant,
        }
    }

    /// Whether everything in another scope is in this one too.
    pub fn includes(&self, other: &TenantScope) -> bool {
        match other {
            TenantScope::Any => *self == TenantScope::Any,
            TenantScope::One(tenant) => self.covers(tenant),
        }
    }

    /// The one tenant of this scope; none where it is every tenant.
    pub fn tenant(&self) -> Option<&TenantName> {
        match self {
            TenantScope::Any => None,
            TenantScope::One(tenant) => Some(tenant),
        }
    }
}

impl std::fmt::Display for TenantScope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            TenantScope::Any => f.pad("*"),
            TenantScope::One(tenant) => tenant.fmt(f),
        }
    }
}

impl std::str::FromStr for TenantScope {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "*" { Ok(Self::Any) } else { text.parse().map(Self::One) }
    }
}

crate::encode_as_text!(TenantScope);
