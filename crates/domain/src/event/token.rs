//! What happens to tokens. The subject is the token's id; the token itself is in no event.

use mainstay_types::{Digest, Role, TenantScope, Timestamp};
use minicbor::{Decode, Encode};
use serde::Serialize;

/// A token was made.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct TokenCreated {
    #[n(0)]
    pub role: Role,
    #[n(1)]
    pub tenant: TenantScope,
    /// BLAKE3 of the token. It can not be turned back: a token has more than 160 random bits.
    #[n(2)]
    pub digest: Digest,
    #[n(3)]
    pub expires_at: Timestamp,
}

/// The token is refused from now on.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize)]
pub struct TokenRevoked {
    #[n(0)]
    pub cause: String,
}
