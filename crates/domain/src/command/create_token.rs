//! Somebody is to be let in.

use mainstay_types::{Digest, Role, TenantScope, TokenId};

use super::create_binding::lease;
use super::{Context, Decision, Rejection};
use crate::event::{NewEvent, Subject, SubjectKind, TokenCreated, TokenRevoked};
use crate::view::View;

/// How many expired tokens a new one clears away: more than one, so that their number falls.
const FORGOTTEN_AT_ONCE: usize = 16;

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
        let mut events = vec![context.event(self.tenant.tenant().cloned(), subject, created)];
        events.extend(forgotten(view, context));
        Ok(Decision::of(events))
    }
}

/// The events that forget tokens which have expired, so that short-lived ones do not pile up.
fn forgotten(view: &View, context: &Context) -> impl Iterator<Item = NewEvent> {
    let expired = view.tokens().filter(|token| token.expires_at <= context.now).take(FORGOTTEN_AT_ONCE);
    expired.map(|token| {
        let revoked = TokenRevoked { cause: "it has expired".to_owned() };
        context.event(token.tenant.tenant().cloned(), Subject::new(SubjectKind::Token, &token.id), revoked)
    })
}
