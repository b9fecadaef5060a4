//! The layer's databases, as the `database` secrets engine uses them: its credentials are bindings.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mainstay_control::{Control, DeliveryError, SubmitError, draw_id};
use mainstay_domain::command::{
    Command, CreateBinding, DeleteBinding, Rejection, RenewBinding, ReplacePassword, Request,
};
use mainstay_domain::event::Actor;
use mainstay_domain::view::{Binding, InstanceState, OperationState, View};
use mainstay_secrets_database::{Credential, Databases, NewCredential};
use mainstay_secrets_engine::Refusal;
use mainstay_types::{BindingId, InstanceName, OperationId, TenantName};
use secrecy::ExposeSecret;

/// How long a client is kept waiting for the engine. Making a credential takes milliseconds; an engine that was killed
/// serves again within 5 s.
const PATIENCE: Duration = Duration::from_secs(30);
/// What the contracts of databases begin with.
const CONTRACT: &str = "postgresql/";

/// The instances of the layer.
pub struct LayerDatabases {
    control: Control,
}

/// A binding that nobody has yet. Dropped before somebody does, because the work failed or whoever waited went away, it
/// is revoked; should that be lost too, it ends with its lease.
struct Unclaimed {
    control: Control,
    tenant: TenantName,
    id: BindingId,
    claimed: bool,
}

impl LayerDatabases {
    pub fn new(control: Control) -> Self {
        Self { control }
    }

    async fn submit(&self, command: impl Into<Command>) -> Result<Option<OperationId>, Refusal> {
        let accepted = self.control.submit(Actor::System, command).await.map_err(refused)?;
        Ok(accepted.operation)
    }

    /// Waits until an operation has succeeded. `what` says what it does, for whoever is told that it did not.
    async fn succeed(&self, operation: Option<OperationId>, binding: &BindingId, what: &str) -> Result<(), Refusal> {
        let Some(operation) = operation else { return Ok(()) };
        match self.control.wait_for(&operation, PATIENCE).await {
            Ok(done) => match &done.state {
                OperationState::Failed { detail, .. } => Err(failed(format!("{what}: {detail}"))),
                OperationState::Succeeded | OperationState::InProgress => Ok(()),
            },
            Err(error) => {
                let reason = self.trouble(binding).unwrap_or_else(|| error.to_string());
                Err(unavailable(format!("{what}: {reason}")))
            }
        }
    }

    /// Waits until the view is as it should be; answers whether it came to be.
    async fn until(&self, mut holds: impl FnMut(&View) -> bool) -> bool {
        let mut views = self.control.journal().watch();
        matches!(tokio::time::timeout(PATIENCE, views.wait_for(|view| holds(view))).await, Ok(Ok(_)))
    }

    /// Why nothing comes of a binding at present, as far as that is known.
    fn trouble(&self, binding: &BindingId) -> Option<String> {
        let view = self.control.view();
        let instance = view.instance_by_id(&view.binding(binding)?.instance_id)?;
        self.control.trouble_with(&instance.id).or_else(|| self.control.trouble_with_cluster(&instance.cluster))
    }

    /// A tenant's own binding that is to last. To one tenant the bindings of another do not exist.
    fn live(&self, tenant: &TenantName, id: &BindingId) -> Result<Arc<Binding>, Refusal> {
        let view = self.control.view();
        let own = |binding: &&Arc<Binding>| binding.tenant == *tenant && binding.is_live();
        view.binding(id).filter(own).cloned().ok_or(Refusal::NotFound)
    }

    async fn delivered(&self, id: &BindingId) -> Result<Credential, Refusal> {
        let delivery = self.control.deliver(id).await.map_err(|error| match error {
            DeliveryError::NoCredential(_) => Refusal::NotFound,
            error => Refusal::unavailable("the credential's password can not be read now", error),
        })?;
        let missing = || failed(format!("binding {id} has no user name and password"));
        let username = delivery.get("username").ok_or_else(missing)?.expose_secret().to_owned();
        let password = delivery.get("password").ok_or_else(missing)?.clone();
        Ok(Credential { binding: id.clone(), username, password })
    }

    /// Waits until no new password is on its way: in that moment the old one stops working.
    async fn settled(&self, id: &BindingId) -> Result<(), Refusal> {
        if self.until(|view| view.binding(id).is_none_or(|binding| !is_being_replaced(binding))).await {
            return Ok(());
        }
        let reason = self.trouble(id).unwrap_or_else(|| "the engine does not answer".to_owned());
        Err(unavailable(format!("the password is being replaced: {reason}")))
    }
}

#[async_trait]
impl Databases for LayerDatabases {
    async fn check(&self, tenant: &TenantName, name: &InstanceName) -> Result<(), Refusal> {
        let view = self.control.view();
        let not_there = || {
            let rejection = Rejection::InstanceNotFound { name: name.clone() };
            Refusal::invalid(format!("error verifying connection: {rejection}; {}", rejection.remedy()))
        };
        let instance = view.instance(tenant, name).ok_or_else(not_there)?;
        if !instance.contract.to_string().starts_with(CONTRACT) {
            return Err(Refusal::invalid(format!(
                "error verifying connection: instance {name} is of contract {}, and no database",
                instance.contract
            )));
        }
        if instance.state == InstanceState::Ready {
            return Ok(());
        }
        let (state, reason) = instance.visible_state(view.cluster(&instance.cluster).map(Arc::as_ref));
        let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        Err(Refusal::invalid(format!("error verifying connection: instance {name} is {state}{reason}")))
    }

    async fn create(&self, wanted: NewCredential) -> Result<Credential, Refusal> {
        let id = BindingId::from_random(draw_id());
        let command = CreateBinding {
            request: request(),
            tenant: wanted.tenant.clone(),
            instance: wanted.instance,
            consumer: wanted.consumer,
            lease_seconds: Some(wanted.lease_seconds),
            id: id.clone(),
            statements: wanted.statements,
        };
        let mut unclaimed =
            Unclaimed { control: self.control.clone(), tenant: wanted.tenant, id: id.clone(), claimed: false };
        let operation = self.submit(command).await?;
        self.succeed(operation, &id, "the credential could not be made").await?;
        let credential = self.delivered(&id).await?;
        unclaimed.claimed = true;
        Ok(credential)
    }

    async fn read(&self, tenant: &TenantName, binding: &BindingId) -> Result<Credential, Refusal> {
        self.live(tenant, binding)?;
        self.settled(binding).await?;
        self.delivered(binding).await
    }

    async fn renew(&self, tenant: &TenantName, binding: &BindingId, seconds: u64) -> Result<(), Refusal> {
        self.live(tenant, binding)?;
        let lease_seconds = Some(seconds.min(mainstay_domain::command::MAX_LEASE_SECONDS));
        self.submit(RenewBinding { tenant: tenant.clone(), id: binding.clone(), lease_seconds }).await.map(drop)
    }

    async fn rotate(&self, tenant: &TenantName, binding: &BindingId) -> Result<(), Refusal> {
        // One that was asked for earlier and was waited for in vain is the one that is meant.
        if is_being_replaced(&*self.live(tenant, binding)?) {
            return self.settled(binding).await;
        }
        let command = ReplacePassword { request: request(), tenant: tenant.clone(), id: binding.clone() };
        let operation = self.submit(command).await?;
        self.succeed(operation, binding, "the password could not be replaced").await
    }

    async fn revoke(&self, tenant: &TenantName, id: &BindingId) -> Result<(), Refusal> {
        if self.control.view().binding(id).is_none_or(|binding| binding.tenant != *tenant) {
            return Ok(());
        }
        let command = DeleteBinding { request: request(), tenant: tenant.clone(), id: id.clone() };
        match self.control.submit(Actor::System, command).await {
            Ok(_) | Err(SubmitError::Rejected(Rejection::BindingNotFound { .. })) => {}
            Err(error) => return Err(refused(error)),
        }
        if self.until(|view| view.binding(id).is_none()).await {
            return Ok(());
        }
        let reason = self.trouble(id).unwrap_or_else(|| "the engine does not answer".to_owned());
        Err(unavailable(format!("binding {id} could not be removed yet: {reason}")))
    }
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        if self.claimed || self.control.view().binding(&self.id).is_none() {
            return;
        }
        let (control, tenant, id) = (self.control.clone(), self.tenant.clone(), self.id.clone());
        // Dropped where it was made, which is within the runtime.
        tokio::spawn(async move {
            let command = DeleteBinding { request: request(), tenant, id: id.clone() };
            if let Err(error) = control.submit(Actor::System, command).await {
                tracing::warn!(binding = %id, %error, "a credential that nobody has ends with its lease only");
            }
        });
    }
}

/// Whether a binding has a new password that the engine is being told of.
fn is_being_replaced(binding: &Binding) -> bool {
    binding.credentials.iter().any(|credential| credential.applied.is_none() && credential.login.is_some())
}

fn request() -> Request {
    Request { operation: OperationId::from_random(draw_id()), idempotency: None }
}

/// What a client is told whose command was not taken.
fn refused(error: SubmitError) -> Refusal {
    match error {
        SubmitError::Rejected(Rejection::BindingNotFound { .. }) => Refusal::NotFound,
        SubmitError::Rejected(rejection) => Refusal::invalid(format!("{rejection}; {}", rejection.remedy())),
        error => Refusal::unavailable("the control plane does not take it now", error),
    }
}

/// The engine refused, with words for the client.
fn failed(what: String) -> Refusal {
    Refusal::Failed { what, source: None }
}

fn unavailable(what: String) -> Refusal {
    Refusal::Unavailable { what, source: None }
}
