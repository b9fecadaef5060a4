//! What the engine needs of the layer.

use async_trait::async_trait;
use mainstay_secrets_engine::Refusal;
use mainstay_types::{BindingId, ConsumerName, InstanceName, TenantName};
use secrecy::SecretString;

/// The layer's databases, as far as this engine uses them. Nothing here waits without a bound.
#[async_trait]
pub trait Databases: Send + Sync + 'static {
    /// Whether a tenant's instance is there, is a database and is ready. The refusal says what it is instead.
    async fn check(&self, tenant: &TenantName, instance: &InstanceName) -> Result<(), Refusal>;

    /// Makes a credential that works when this returns. After a refusal none is left, or what is left is being removed.
    async fn create(&self, wanted: NewCredential) -> Result<Credential, Refusal>;

    /// What to log in with now. Never a password that does not work any more because a newer one is on its way.
    /// [`Refusal::NotFound`] where the binding is gone.
    async fn read(&self, tenant: &TenantName, binding: &BindingId) -> Result<Credential, Refusal>;

    /// Makes a credential last so long from now on. [`Refusal::NotFound`] where the binding is gone.
    async fn renew(&self, tenant: &TenantName, binding: &BindingId, seconds: u64) -> Result<(), Refusal>;

    /// Replaces a credential's password under its user name; the new one works when this returns.
    /// [`Refusal::NotFound`] where the binding is gone.
    async fn rotate(&self, tenant: &TenantName, binding: &BindingId) -> Result<(), Refusal>;

    /// Removes a credential and ends its sessions. `Ok` only when it is really gone, or was before; otherwise
    /// [`Refusal::Unavailable`], while its removal goes on.
    async fn revoke(&self, tenant: &TenantName, binding: &BindingId) -> Result<(), Refusal>;
}

/// A credential that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCredential {
    pub tenant: TenantName,
    pub instance: InstanceName,
    /// Whom it is listed for.
    pub consumer: ConsumerName,
    pub lease_seconds: u64,
    /// What it is allowed; all that the instance's owner is where there are none.
    pub statements: Option<Vec<String>>,
}

/// What a client logs in with.
#[derive(Debug, Clone)]
pub struct Credential {
    pub binding: BindingId,
    pub username: String,
    pub password: SecretString,
}
