//! Hashes that mean nothing without a mount's key.

use aws_lc_rs::hmac;
use mainstay_custody::{CommitError, Expect};
use mainstay_secrets_engine::{Batch, Refusal, Storage};
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use crate::record;

/// Where a mount keeps its key.
const KEY: &str = "hash-key";

/// How many bytes of a hash name a place in the storage: at 128 bits two never meet.
const PLACE_BYTES: usize = 16;

/// HMAC-SHA256 with a key of one mount: what is stored of credentials is worth nothing without it, and a place in the
/// storage tells nothing about what belongs there.
pub(crate) struct KeyedHash {
    key: hmac::Key,
}

#[derive(Serialize, Deserialize)]
struct StoredKey {
    key: String,
}

impl KeyedHash {
    /// The hash of a mount, whose key is made when it is first asked for.
    pub async fn of_mount(storage: &Storage) -> Result<Self, Refusal> {
        if let Some(stored) = record::load::<StoredKey>(storage, KEY).await? {
            return Ok(Self::with_key(stored.value));
        }
        let mut random = [0; 32];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| Refusal::Failed {
            what: "the operating system gives no random bytes".to_owned(),
            source: None,
        })?;
        let made = StoredKey { key: hex(&random) };
        random.zeroize();
        let mut batch = Batch::default();
        record::put(&mut batch, KEY, Expect::Absent, &made);
        match storage.commit(batch).await {
            Ok(()) => Ok(Self::with_key(made)),
            // Another opening of the same mount was faster; its key is the key.
            Err(conflict @ CommitError::Conflict { .. }) => {
                let stored = record::load::<StoredKey>(storage, KEY).await?.ok_or_else(|| Refusal::from(conflict))?;
                Ok(Self::with_key(stored.value))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The place of something in the storage.
    pub fn place(&self, purpose: &str, text: &str) -> String {
        hex(&self.sign(&format!("{purpose} place"), text).as_ref()[..PLACE_BYTES])
    }

    /// What is stored of a credential.
    pub fn tag(&self, purpose: &str, credential: &str) -> String {
        hex(self.sign(purpose, credential).as_ref())
    }

    /// Whether a credential is the one that a tag was made of, in constant time.
    pub fn verify(&self, purpose: &str, credential: &str, tag: &str) -> bool {
        let expected = self.tag(purpose, credential);
        aws_lc_rs::constant_time::verify_slices_are_equal(expected.as_bytes(), tag.as_bytes()).is_ok()
    }

    fn with_key(mut stored: StoredKey) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, stored.key.as_bytes());
        stored.key.zeroize();
        Self { key }
    }

    fn sign(&self, purpose: &str, text: &str) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(purpose.as_bytes());
        // A purpose holds no zero byte, so that no two of purpose and text make the same input.
        context.update(&[0]);
        context.update(text.as_bytes());
        context.sign()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use mainstay_secrets_engine::Storage;

    use super::KeyedHash;

    #[tokio::test]
    async fn a_mount_keeps_its_key_and_shares_it_with_nobody() {
        let storage = Storage::scratch().await;
        let first = KeyedHash::of_mount(&storage).await.unwrap();
        let again = KeyedHash::of_mount(&storage).await.unwrap();
        let other = KeyedHash::of_mount(&storage.below("other/")).await.unwrap();
        let tag = first.tag("secret", "x");
        assert!(again.verify("secret", "x", &tag));
        assert!(
            !again.verify("secret", "y", &tag) && !again.verify("role", "x", &tag) && !again.verify("secret", "x", "")
        );
        assert!(!other.verify("secret", "x", &tag));
        assert_ne!(first.place("secret", "x"), other.place("secret", "x"));
        assert!(!tag.starts_with(&first.place("secret", "x")));
    }
}
