//! Data that somebody in this process writes or reads, so that nobody removes it meanwhile.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::keys::DataId;

/// How many use what.
#[derive(Debug, Clone, Default)]
pub(crate) struct InUse(Arc<Mutex<HashMap<DataId, usize>>>);

/// Keeps data in use until it is dropped.
#[derive(Debug)]
pub(crate) struct Use {
    data: DataId,
    all: InUse,
}

impl InUse {
    pub(crate) fn begin(&self, data: DataId) -> Use {
        *self.lock().entry(data).or_default() += 1;
        Use { data, all: self.clone() }
    }

    pub(crate) fn contains(&self, data: &DataId) -> bool {
        self.lock().contains_key(data)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<DataId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Use {
    pub(crate) fn data(&self) -> DataId {
        self.data
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        let mut all = self.all.lock();
        if let Some(users) = all.get_mut(&self.data) {
            *users -= 1;
            if *users == 0 {
                all.remove(&self.data);
            }
        }
    }
}
