//! What does not get on at present, so that a state that lasts has a reason that a person can read.

use std::collections::BTreeMap;
use std::sync::Mutex;

use mainstay_types::InstanceId;

/// The last fault of each instance on which a step is being tried again.
///
/// Kept in memory only: it is about this moment, and the next attempt after a restart finds it anew.
#[derive(Default)]
pub(crate) struct Troubles(Mutex<BTreeMap<InstanceId, String>>);

impl Troubles {
    pub(crate) fn of_instance(&self, instance: &InstanceId) -> Option<String> {
        self.lock().get(instance).cloned()
    }

    pub(crate) fn set(&self, instance: &InstanceId, reason: String) {
        self.lock().insert(instance.clone(), reason);
    }

    pub(crate) fn clear(&self, instance: &InstanceId) {
        self.lock().remove(instance);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<InstanceId, String>> {
        // Nothing panics while it holds this lock, and a map is whole after any insert or remove.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
