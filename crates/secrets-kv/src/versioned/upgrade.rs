//! Takes over what version 1 kept, when a mount is tuned to version 2.

use mainstay_custody::Expect;
use mainstay_secrets_engine::{Refusal, Stored};
use mainstay_types::Timestamp;
use serde_json::{Map, Value};

use super::record::Metadata;
use super::{Change, Versioned};
use crate::plain::VALUES;

/// How many keys are looked up at a time.
const AT_ONCE: usize = 1000;

impl Versioned {
    /// Makes each value of version 1 a version of its secret. Each is moved in one piece, so that a crash leaves
    /// nothing to repair: the next opening goes on.
    pub(crate) async fn take_over_version_1(&self) -> Result<(), Refusal> {
        loop {
            let keys = self.storage.keys(VALUES, None, AT_ONCE).await?;
            if keys.is_empty() {
                return Ok(());
            }
            for key in keys {
                let old: Option<Stored<Map<String, Value>>> = self.storage.get(&key).await?;
                if let Some(old) = old {
                    self.take_over(&key, &old).await?;
                }
            }
        }
    }

    async fn take_over(&self, key: &str, old: &Stored<Map<String, Value>>) -> Result<(), Refusal> {
        let path = &key[VALUES.len()..];
        let now = Timestamp::now();
        // There is a secret already where the mount was of version 2 once, and of version 1 again since.
        let (read, mut metadata) = match self.metadata(path).await? {
            Some(stored) => (Expect::Revision(stored.revision), stored.value),
            None => (Expect::Absent, Metadata::new(now)),
        };
        let removed = metadata.add_version(&self.config(), now);
        let change = Change { metadata: Some(metadata), values: Some(&old.value), removed };
        let mut batch = change.batch(path, read);
        batch.delete(key, Expect::Revision(old.revision));
        Ok(self.storage.commit(batch).await?)
    }
}
