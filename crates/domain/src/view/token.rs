//! Tokens as the view holds them: never the token, only its digest.

use mainstay_types::{Digest, Role, TenantScope, Timestamp, TokenId};
use minicbor::{Decode, Encode};

/// A token that is accepted until it expires.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Token {
    #[n(0)]
    pub id: TokenId,
    #[n(1)]
    pub role: Role,
    #[n(2)]
    pub tenant: TenantScope,
    #[n(3)]
    pub digest: Digest,
    #[n(4)]
    pub created_at: Timestamp,
    #[n(5)]
    pub expires_at: Timestamp,
}
