//! Somebody is no longer to be let in.

use mainstay_types::{TenantScope, TokenId};

use super::{Context, Decision, Rejection};
use crate::event::{Subject, SubjectKind, TokenRevoked};
use crate::view::View;

/// Makes the layer forget a token, so that it is refused from now on.
#[derive(Debug, Clone, PartialEq)]
pub struct RevokeToken {
    /// The scope of whoever asks: to it, tokens of other tenants do not exist.
    pub by: TenantScope,
    pub id: TokenId,
    pub cause: String,
}

impl RevokeToken {
    pub(super) fn decide(&self, view: &View, context: &Context) -> Result<Decision, Rejection> {
        let token = view
            .token(&self.id)
            .filter(|token| self.by.includes(&token.tenant))
            .ok_or_else(|| Rejection::TokenNotFound { id: self.id.clone() })?;
        let revoked = TokenRevoked { cause: self.cause.clone() };
        let subject = Subject::new(SubjectKind::Token, &self.id);
        Ok(Decision::of(vec![context.event(token.tenant.tenant().cloned(), subject, revoked)]))
    }
}
