//! Somebody is to be let in.

use mainstay_types::{Digest, Role, TenantScope, TokenId};

use super::create_binding::lease;
use super::{Context, Decision, Rejection};
use crate::event::{Subject, SubjectKind, TokenCreated};
use crate::view::View;

/// Makes a token known by its digest.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateToken {
    /// The scope of whoever asks: nobody gives away more than they have.
    pub by: TenantScope,
    pub id: TokenId,
    pub role: Role,
    pub tenant: TenantScope,
    pub digest: Digest,
    /// How long it is to be accepted; as long as a binding's lease where nothing is said.
    pub ttl_seconds: Option<u64>,
}

impl CreateToken {
    pub(super) fn decide(&self, view: &View, context: &Context) -> Result<Decision, Rejection> {
        if !self.by.includes(&self.tenant) {
            return Err(Rejection::TenantForbidden { own: self.by.clone(), wanted: self.tenant.clone() });
        }
        if view.token(&self.id).is_some() {
            return Err(Rejection::IdTaken);
        }
        let created = TokenCreated {
            role: self.role,
            tenant: self.tenant.clone(),
            digest: self.digest,
            expires_at: context.now.plus_seconds(lease(self.ttl_seconds)?),
        };
        let subject = Subject::new(SubjectKind::Token, &self.id);
        Ok(Decision::of(vec![context.event(self.tenant.tenant().cloned(), subject, created)]))
    }
}
