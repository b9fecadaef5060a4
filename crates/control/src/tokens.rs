//! Tokens: made here, shown once, known from then on by their digest.

use mainstay_domain::command::{CreateToken, Rejection};
use mainstay_domain::event::Actor;
use mainstay_types::{Digest, Role, TenantScope, Timestamp, TokenId};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use crate::control::{Control, SubmitError};
use crate::draw::{draw_id, draw_secret};

/// What every token begins with, so that scanners for leaked secrets can know one.
const PREFIX: &str = "mst_";

/// A token that was just made. This is the only time that anybody sees it.
pub struct NewToken {
    pub id: TokenId,
    pub token: SecretString,
    pub role: Role,
    pub tenant: TenantScope,
    pub expires_at: Timestamp,
}

/// Whoever bears an accepted token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bearer {
    pub id: TokenId,
    pub role: Role,
    pub tenant: TenantScope,
}

/// Why a token is not accepted. Strangers are told only that it is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefused {
    #[error("the token is not one of this layer's, or was revoked")]
    Unknown,
    #[error("the token has expired")]
    Expired,
}

// A request that draws a taken id is sent again; two collisions of 60 random bits do not happen.
const DRAWS: u32 = 3;

impl Control {
    /// Makes a token.
    pub async fn create_token(
        &self,
        actor: Actor,
        by: TenantScope,
        role: Role,
        tenant: TenantScope,
        ttl_seconds: Option<u64>,
    ) -> Result<NewToken, SubmitError> {
        let mut draws = 0;
        loop {
            let id = TokenId::from_random(draw_id());
            let token = SecretString::from(format!("{PREFIX}{}_{}", id.suffix(), draw_secret().expose_secret()));
            let digest = Digest::of(token.expose_secret().as_bytes());
            let (by, tenant) = (by.clone(), tenant.clone());
            let command = CreateToken { by, id: id.clone(), role, tenant: tenant.clone(), digest, ttl_seconds };
            draws += 1;
            match self.submit(actor.clone(), command).await {
                Ok(_) => {
                    let expires_at = self.view().token(&id).map_or(Timestamp::EPOCH, |token| token.expires_at);
                    return Ok(NewToken { id, token, role, tenant, expires_at });
                }
                Err(SubmitError::Rejected(Rejection::IdTaken)) if draws < DRAWS => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether whoever was let in earlier would be let in now: their token was not revoked and has not expired.
    pub fn accepts(&self, actor: &Actor) -> bool {
        match actor {
            Actor::System => true,
            Actor::Token(id) => self.view().token(id).is_some_and(|token| token.expires_at > Timestamp::now()),
        }
    }

    /// Who bears a token, if it is accepted now.
    pub fn authenticate(&self, token: &SecretString) -> Result<Bearer, TokenRefused> {
        let view = self.view();
        let suffix = token.expose_secret().strip_prefix(PREFIX).and_then(|rest| rest.split('_').next());
        let id: Option<TokenId> = suffix.and_then(|suffix| format!("t-{suffix}").parse().ok());
        let known = id.and_then(|id| view.token(&id).cloned()).ok_or(TokenRefused::Unknown)?;
        let digest = Digest::of(token.expose_secret().as_bytes());
        if !bool::from(digest.as_bytes().ct_eq(known.digest.as_bytes())) {
            return Err(TokenRefused::Unknown);
        }
        if known.expires_at <= Timestamp::now() {
            return Err(TokenRefused::Expired);
        }
        Ok(Bearer { id: known.id.clone(), role: known.role, tenant: known.tenant.clone() })
    }
}
