//! The kinds of backends that this installation has.

use std::collections::BTreeMap;
use std::sync::Arc;

use mainstay_secrets_engine::{Backend, Class, Kind, Mount, Refusal, Storage};

use crate::mount::MountRecord;

/// Every kind, by class and name.
pub(crate) struct Kinds {
    kinds: BTreeMap<(bool, &'static str), Arc<dyn Kind>>,
}

impl Kinds {
    pub(crate) fn new(kinds: Vec<Arc<dyn Kind>>) -> Self {
        let kinds = kinds.into_iter().map(|kind| ((kind.class() == Class::Auth, kind.name()), kind)).collect();
        Self { kinds }
    }

    /// Whether something of this kind can be mounted.
    pub(crate) fn has(&self, class: Class, name: &str) -> bool {
        self.kinds.contains_key(&(class == Class::Auth, name))
    }

    /// The names of a class.
    pub(crate) fn names(&self, class: Class) -> Vec<&'static str> {
        self.kinds.keys().filter(|(auth, _)| *auth == (class == Class::Auth)).map(|(_, name)| *name).collect()
    }

    pub(crate) async fn open(
        &self,
        record: &MountRecord,
        mount: Arc<Mount>,
        storage: Storage,
    ) -> Result<Arc<dyn Backend>, Refusal> {
        let kind = self.kinds.get(&(record.class() == Class::Auth, record.kind.as_str()));
        match kind {
            Some(kind) => kind.open(mount, storage).await,
            None => {
                let known = self.names(record.class()).join(", ");
                Err(Refusal::invalid(format!(
                    "unsupported type {:?} of mount {}; there are {known}",
                    record.kind, record.path
                )))
            }
        }
    }
}
