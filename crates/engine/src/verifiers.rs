//! What the passwords of credentials are checked with, remembered so that a change by somebody else is noticed.
//!
//! In memory only: what was changed while no control plane lived is not noticed, and a client that is refused
//! then is helped by rotating its binding.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mainstay_types::Digest;

/// By user name, the digest of its verifier as we last set or first saw it.
#[derive(Debug, Default)]
pub struct Verifiers(Mutex<HashMap<String, Digest>>);

impl Verifiers {
    /// All that are known.
    pub fn all(&self) -> HashMap<String, Digest> {
        self.known().clone()
    }

    /// Before a verifier is set, so that neither the old nor the new one is taken for a stranger's meanwhile.
    pub fn forget(&self, username: &str) {
        self.known().remove(username);
    }

    /// After a verifier was set.
    pub fn remember(&self, username: String, verifier: Digest) {
        self.known().insert(username, verifier);
    }

    /// The verifier that was known before something was looked up and is known still; none where it was being
    /// set meanwhile. Where none is known yet, the one that was found is from now on.
    pub fn known_throughout(
        &self,
        before: &HashMap<String, Digest>,
        username: String,
        found: Option<Digest>,
    ) -> Option<Digest> {
        let earlier = before.get(&username).copied();
        let mut known = self.known();
        match (known.get(&username).copied(), found) {
            (None, Some(found)) if earlier.is_none() => {
                known.insert(username, found);
                None
            }
            (now, _) => now.filter(|now| earlier == Some(*now)),
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Digest>> {
        // Every change is a single call on the map, which a panic does not leave half-done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use mainstay_types::Digest;

    use super::Verifiers;

    #[test]
    fn a_verifier_that_is_being_set_is_not_judged() {
        let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
        let verifiers = Verifiers::default();
        let look = |before: &_, found| verifiers.known_throughout(before, "b".to_owned(), Some(found));

        // First seen, then known.
        assert_eq!(look(&verifiers.all(), one), None);
        let before = verifiers.all();
        assert_eq!(look(&before, one), Some(one));

        // Set by a binding that begins, or begins and ends, while it is looked up.
        verifiers.forget("b");
        assert_eq!(look(&before, one), None);
        verifiers.remember("b".to_owned(), two);
        assert_eq!(look(&before, one), None);
        assert_eq!(look(&verifiers.all(), one), Some(two));
    }
}
