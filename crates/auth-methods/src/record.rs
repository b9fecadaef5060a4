//! How this crate's entries are stored: JSON with the version of its format beside the fields.

use mainstay_custody::Expect;
use mainstay_secrets_engine::{Batch, Refusal, Storage, Stored};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// An entry in the format of its version. A format that changes gets an enum of its own, with a variant for each
/// version and a way from each to the newest.
#[derive(Serialize, Deserialize)]
#[serde(tag = "version")]
enum Record<T> {
    #[serde(rename = "1")]
    V1(T),
}

/// Reads an entry.
pub(crate) async fn load<T: DeserializeOwned>(storage: &Storage, key: &str) -> Result<Option<Stored<T>>, Refusal> {
    let stored = storage.get::<Record<T>>(key).await?;
    Ok(stored.map(|Stored { revision, value: Record::V1(value) }| Stored { revision, value }))
}

/// Adds the writing of an entry to a batch.
pub(crate) fn put<T: Serialize>(batch: &mut Batch, key: &str, expect: Expect, value: &T) {
    batch.put(key, expect, &Record::V1(value));
}

/// What an entry has to be like when it is written after it was read.
pub(crate) fn unchanged<T>(stored: Option<&Stored<T>>) -> Expect {
    stored.map_or(Expect::Absent, |stored| Expect::Revision(stored.revision))
}
