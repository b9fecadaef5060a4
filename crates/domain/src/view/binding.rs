//! Bindings as the view holds them.

use mainstay_types::{BindingId, ConsumerName, Generation, InstanceId, InstanceName, TenantName, Timestamp};
use minicbor::{Decode, Encode};
use serde::Serialize;

/// One consumer's credentials for an instance.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Binding {
    #[n(0)]
    pub id: BindingId,
    #[n(1)]
    pub tenant: TenantName,
    #[n(2)]
    pub instance: InstanceName,
    #[n(3)]
    pub instance_id: InstanceId,
    #[n(4)]
    pub consumer: ConsumerName,
    #[n(5)]
    pub state: BindingState,
    /// Why it is in this state, where that needs saying.
    #[n(6)]
    pub reason: Option<String>,
    #[n(7)]
    pub lease_seconds: u64,
    #[n(8)]
    pub expires_at: Timestamp,
    #[n(9)]
    pub created_at: Timestamp,
    /// The oldest first. A binding that lives has one, and more while a rotation overlaps.
    #[n(10)]
    pub credentials: Vec<Credential>,
    /// What its credentials are allowed, as SQL; all that the instance's owner is where there is none.
    #[n(11)]
    pub statements: Option<Vec<String>>,
}

/// How far the layer has come with a binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(index_only)]
#[serde(rename_all = "lowercase")]
pub enum BindingState {
    #[n(0)]
    Requested,
    #[n(1)]
    Ready,
    #[n(2)]
    Failed,
    /// Its credentials are being removed.
    #[n(3)]
    Revoking,
}

/// One generation of a binding's credentials.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Credential {
    #[n(0)]
    pub generation: Generation,
    /// Until when the engine accepts it, as far as is known; none while it was never made.
    #[n(1)]
    pub applied: Option<Timestamp>,
    /// When it is to stop working because a newer one took its place.
    #[n(2)]
    pub retire_at: Option<Timestamp>,
    /// How long the ones before it go on working once it was made.
    #[n(3)]
    pub overlap_seconds: u64,
    /// The generation whose user name it has, where that is an earlier one's: then only its password is its own.
    #[n(4)]
    pub login: Option<Generation>,
}

impl Binding {
    /// The credential that a consumer should use: the newest that works.
    pub fn current(&self) -> Option<&Credential> {
        self.credentials.iter().rev().find(|credential| credential.applied.is_some())
    }

    /// One generation of its credentials.
    pub fn credential(&self, generation: Generation) -> Option<&Credential> {
        self.credentials.iter().find(|credential| credential.generation == generation)
    }

    /// The newest generation, whether it works yet or not.
    pub fn newest_generation(&self) -> Generation {
        self.credentials.last().map_or(0, |credential| credential.generation)
    }

    /// The newest of the credentials that took over a credential's user name, where one did.
    ///
    /// The engine knows one password for a name. So the older credential is no longer made, repaired or removed there:
    /// what the engine has under that name is the newer one's.
    pub fn successor(&self, credential: &Credential) -> Option<&Credential> {
        let newer =
            |other: &&Credential| other.generation > credential.generation && other.login() == credential.login();
        self.credentials.iter().rev().find(newer)
    }

    /// Whether it still gives, or will give, access.
    pub fn is_live(&self) -> bool {
        matches!(self.state, BindingState::Requested | BindingState::Ready)
    }

    /// Until when the engine is to accept one of its credentials. Engines know whole seconds; rounding up keeps
    /// a credential from ending before its lease does.
    pub fn valid_until(&self, credential: &Credential) -> Timestamp {
        let end = credential.retire_at.map_or(self.expires_at, |retire_at| retire_at.min(self.expires_at));
        let whole = end.whole_seconds();
        if whole == end { whole } else { whole.plus_seconds(1) }
    }
}

impl Credential {
    /// The generation that its user name tells.
    pub fn login(&self) -> Generation {
        self.login.unwrap_or(self.generation)
    }
}

impl std::fmt::Display for BindingState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Requested => "requested",
            Self::Ready => "ready",
            Self::Failed => "failed",
            Self::Revoking => "revoking",
        })
    }
}
