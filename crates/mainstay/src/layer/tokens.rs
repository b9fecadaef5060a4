//! The journal's tokens, as secret custody asks for them.

use async_trait::async_trait;
use mainstay_control::Control;
use mainstay_domain::command::RevokeToken;
use mainstay_domain::event::Actor;
use mainstay_secrets::{LayerToken, TokenDirectory};
use mainstay_secrets_engine::Refusal;
use mainstay_types::{TenantScope, Timestamp, TokenId};
use secrecy::SecretString;

pub(super) struct JournalTokens {
    control: Control,
}

impl JournalTokens {
    pub(super) fn new(control: Control) -> Self {
        Self { control }
    }
}

#[async_trait]
impl TokenDirectory for JournalTokens {
    fn find(&self, token: &str) -> Option<LayerToken> {
        let bearer = self.control.authenticate(&SecretString::from(token)).ok()?;
        self.by_id(&bearer.id)
    }

    fn by_id(&self, id: &TokenId) -> Option<LayerToken> {
        let view = self.control.view();
        let token = view.token(id).filter(|token| token.expires_at > Timestamp::now())?;
        Some(LayerToken {
            id: token.id.clone(),
            role: token.role,
            scope: token.tenant.clone(),
            created_at: token.created_at,
            expires_at: token.expires_at,
        })
    }

    async fn revoke(&self, id: &TokenId) -> Result<(), Refusal> {
        if self.by_id(id).is_none() {
            return Ok(());
        }
        let cause = "its bearer, or an admin, asked for it through the Vault API".to_owned();
        let revoke = RevokeToken { by: TenantScope::Any, id: id.clone(), cause };
        let revoked = self.control.submit(Actor::System, revoke).await;
        revoked.map(drop).map_err(|error| Refusal::unavailable("the journal did not take it", error))
    }
}
