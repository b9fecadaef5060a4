//! Where the passwords of bindings are kept, and how one reaches its consumer.

use std::collections::BTreeMap;

use mainstay_custody::{ReadError, RecordError, SecretPath};
use mainstay_domain::view::{Binding, Credential, Instance};
use mainstay_engine::{CredentialSpec, InstanceSpec};
use mainstay_types::{BindingId, Generation};
use secrecy::SecretString;

use crate::control::{Control, spec};

/// The keys and values that a consumer connects with.
pub type Delivery = BTreeMap<&'static str, SecretString>;

/// Why credentials can not be handed out.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    #[error("binding {0} has no working credential")]
    NoCredential(BindingId),
    /// The password is there, and custody's storage does not answer now.
    #[error("the password of binding {binding} can not be read now")]
    Unavailable {
        binding: BindingId,
        #[source]
        source: RecordError,
    },
    #[error("the password of binding {binding} can not be read")]
    Custody {
        binding: BindingId,
        #[source]
        source: RecordError,
    },
}

impl Control {
    /// What the consumer of a binding connects with now: its newest working credential.
    pub async fn deliver(&self, id: &BindingId) -> Result<Delivery, DeliveryError> {
        let view = self.view();
        let none = || DeliveryError::NoCredential(id.clone());
        let binding = view.binding(id).ok_or_else(none)?;
        let credential = binding.current().ok_or_else(none)?;
        let instance = view.instance_by_id(&binding.instance_id).ok_or_else(none)?;
        let cluster = view.cluster(&instance.cluster).ok_or_else(none)?;
        let engine = self.engine(&cluster.engine).ok_or_else(none)?;
        let stored = self.custody().get(&secret_path(id, credential.generation)).await;
        let password = stored.map_err(|source| DeliveryError::of(id, source))?.ok_or_else(none)?;
        Ok(engine.delivery(&spec(cluster), &instance_spec(instance), &credential_spec(binding, credential), &password))
    }
}

impl DeliveryError {
    fn of(binding: &BindingId, source: RecordError) -> Self {
        let binding = binding.clone();
        match source {
            RecordError::Read { source: ReadError::Unavailable { .. }, .. } => Self::Unavailable { binding, source },
            _ => Self::Custody { binding, source },
        }
    }
}

/// Where a credential's password is kept. One of its own for every generation, so that two can overlap.
pub(crate) fn secret_path(binding: &BindingId, generation: Generation) -> SecretPath {
    // A binding's id has letters, digits and one dash, which a path takes.
    format!("binding/{binding}/{generation}").parse().expect("a binding's id makes a valid path")
}

/// An instance as its engine is told of it.
pub(crate) fn instance_spec(instance: &Instance) -> InstanceSpec {
    InstanceSpec { id: instance.id.clone(), name: instance.name.clone(), parameters: instance.parameters.clone() }
}

/// A credential as its engine is told of it.
pub(crate) fn credential_spec(binding: &Binding, credential: &Credential) -> CredentialSpec {
    CredentialSpec {
        binding: binding.id.clone(),
        generation: credential.generation,
        login: credential.login(),
        instance: binding.instance_id.clone(),
        valid_until: binding.valid_until(credential),
        statements: binding.statements.clone(),
    }
}
