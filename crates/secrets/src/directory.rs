//! Tokens of the native API, which are the journal's: they let in here too.

use async_trait::async_trait;
use mainstay_secrets_engine::Refusal;
use mainstay_types::{Role, TenantScope, Timestamp, TokenId};

use crate::token::{TokenEntry, TokenKind};

/// Where tokens of the native API are known. Answers are of this moment and cost no waiting.
#[async_trait]
pub trait TokenDirectory: Send + Sync + 'static {
    /// The token that a text is, where it is one and is accepted now. Compares in constant time.
    fn find(&self, token: &str) -> Option<LayerToken>;

    /// The token of an id, where it is accepted now.
    fn by_id(&self, id: &TokenId) -> Option<LayerToken>;

    /// Ends a token.
    async fn revoke(&self, id: &TokenId) -> Result<(), Refusal>;
}

/// A token of the native API that is accepted.
#[derive(Debug, Clone)]
pub struct LayerToken {
    pub id: TokenId,
    pub role: Role,
    pub scope: TenantScope,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

impl LayerToken {
    /// The token as one of custody's own: its role is a policy that one can read.
    pub(crate) fn entry(&self) -> TokenEntry {
        TokenEntry {
            accessor: self.id.clone(),
            scope: self.scope.clone(),
            policies: vec![self.role.to_string(), "default".to_owned()],
            path: "api/v1/tokens".to_owned(),
            meta: Default::default(),
            display_name: format!("token-{}", self.role),
            parent: None,
            created_at: self.created_at,
            expires_at: Some(self.expires_at),
            renewed_at: None,
            ttl_seconds: self.expires_at.seconds_since(self.created_at).round() as u64,
            max_ttl_seconds: 0,
            explicit_max_ttl_seconds: 0,
            period_seconds: 0,
            renewable: false,
            num_uses: 0,
            bound_cidrs: Vec::new(),
            role: None,
            login_internal: serde_json::Value::Null,
            kind: TokenKind::Layer,
            revoking: false,
        }
    }
}
