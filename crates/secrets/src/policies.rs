//! A tenant's policies: the ones it wrote and the ones that everybody has.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use mainstay_policy::{Acl, BUILT_IN, Policy, PolicyName};
use mainstay_secrets_engine::{Refusal, Storage};
use mainstay_types::chain;

/// How many sets of policies are kept ready for checking. A tenant's tokens share a few dozen sets.
const READY_SETS: usize = 1024;

/// The policies of one tenant.
pub(crate) struct Policies {
    storage: Storage,
    ready: Mutex<Ready>,
}

/// Sets of policies by their names, and how often any policy was changed.
#[derive(Default)]
struct Ready {
    changes: u64,
    sets: HashMap<Vec<String>, Arc<Acl>>,
}

impl Policies {
    pub(crate) fn new(storage: Storage) -> Self {
        Self { storage, ready: Mutex::default() }
    }

    /// The text of a policy.
    pub(crate) async fn text(&self, name: &PolicyName) -> Result<Option<String>, Refusal> {
        let own = self.storage.value::<String>(name.as_str()).await?;
        Ok(own.or_else(|| built_in(name.as_str()).map(str::to_owned)))
    }

    /// The names of all policies, `root` among them.
    pub(crate) async fn names(&self) -> Result<Vec<String>, Refusal> {
        let mut names = self.storage.list("").await?;
        names.extend(BUILT_IN.iter().map(|(name, _)| (*name).to_owned()));
        names.push("root".to_owned());
        names.sort();
        names.dedup();
        Ok(names)
    }

    pub(crate) async fn put(&self, name: &PolicyName, text: &str) -> Result<(), Refusal> {
        name.check_update().map_err(|error| Refusal::invalid(error.to_string()))?;
        Policy::parse(name.clone(), text)
            .map_err(|error| Refusal::invalid(format!("failed to parse policy: {}", chain(&error))))?;
        self.storage.put(name.as_str(), &text).await?;
        self.forget_ready();
        Ok(())
    }

    pub(crate) async fn delete(&self, name: &PolicyName) -> Result<(), Refusal> {
        name.check_delete().map_err(|error| Refusal::invalid(error.to_string()))?;
        self.storage.delete(name.as_str()).await?;
        self.forget_ready();
        Ok(())
    }

    /// Several policies as one. A name that no policy has adds nothing, as in Vault.
    pub(crate) async fn acl(&self, names: &[String]) -> Result<Arc<Acl>, Refusal> {
        let changes = {
            let ready = self.ready();
            if let Some(acl) = ready.sets.get(names) {
                return Ok(acl.clone());
            }
            ready.changes
        };
        let mut policies = Vec::new();
        for name in names {
            let Ok(name) = PolicyName::parse(name) else { continue };
            if name.is_root() {
                policies.push(Policy::root());
                continue;
            }
            let Some(text) = self.text(&name).await? else { continue };
            let policy = Policy::parse(name.clone(), &text)
                .map_err(|error| Refusal::failed(format!("policy {name} cannot be read"), error))?;
            policies.push(policy);
        }
        let acl = Arc::new(Acl::new(policies));
        let mut ready = self.ready();
        // A policy that was changed meanwhile may be in there in its old form.
        if ready.changes == changes {
            if ready.sets.len() >= READY_SETS {
                ready.sets.clear();
            }
            ready.sets.insert(names.to_vec(), acl.clone());
        }
        Ok(acl)
    }

    fn forget_ready(&self) {
        let mut ready = self.ready();
        ready.changes += 1;
        ready.sets.clear();
    }

    fn ready(&self) -> std::sync::MutexGuard<'_, Ready> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn built_in(name: &str) -> Option<&'static str> {
    BUILT_IN.iter().find(|(built_in, _)| *built_in == name).map(|(_, text)| *text)
}
