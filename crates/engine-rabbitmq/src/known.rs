//! What credentials were last bound with, as far as the node does not tell it.
//!
//! In memory only. The time of a credential is not known to the node, which cannot refuse one at its time: the control
//! plane unbinds it then. Remembered all the same, so that a renewal is carried out as with every engine.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mainstay_engine::Verifiers;
use mainstay_types::{Digest, Timestamp};

/// By user name.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub verifiers: Verifiers,
    times: Mutex<HashMap<String, Timestamp>>,
}

impl Known {
    /// Before a credential is bound, so that what is found meanwhile is not held against it.
    pub fn forget(&self, username: &str) {
        self.verifiers.forget(username);
        self.times().remove(username);
    }

    /// After it was bound.
    pub fn remember(&self, username: String, verifier: &str, valid_until: Timestamp) {
        self.verifiers.remember(username.clone(), Digest::of(verifier.as_bytes()));
        self.times().insert(username, valid_until);
    }

    /// Until when a credential was bound; none where that is not known.
    pub fn valid_until(&self, username: &str) -> Option<Timestamp> {
        self.times().get(username).copied()
    }

    fn times(&self) -> MutexGuard<'_, HashMap<String, Timestamp>> {
        // Every change is a single call on the map, which a panic does not leave half-done.
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
