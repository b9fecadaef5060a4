//! What a repository is, in plain text at its root.

use mainstay_types::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::chunk::{MAX_CHUNK, MEAN_CHUNK, MIN_CHUNK};
use crate::keys::Keys;
use crate::pack::PACK_LEN;

pub(crate) const FILE: &str = "mainstay-repository.json";

/// The form of all that is stored. What this version writes, later ones read.
pub(crate) const FORMAT: u64 = 1;

/// What an operator reads who finds this and nothing else.
const ABOUT: &str = "This is a backup repository of Mainstay. To restore the whole layer from it onto an empty machine, with the \
                     recovery key that was printed when it was made: mainstay recover --repository LOCATION --to DIRECTORY. \
                     Nothing in it can be read without that key. Do not change or remove single files.";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Format {
    pub(crate) about: String,
    pub(crate) format: u64,
    pub(crate) id: Uuid,
    pub(crate) created_at: String,
    /// Whether a recovery key is the right one; 64 hexadecimal digits that tell nothing of it.
    pub(crate) key_check: String,
    /// Which recovery key is wanted.
    pub(crate) key_fingerprint: String,
    pub(crate) chunking: Chunking,
    pub(crate) compression: String,
    pub(crate) sealing: String,
    pub(crate) pack_bytes: usize,
}

/// How content is cut. It may change without the format: only that what is known is found again depends on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Chunking {
    pub(crate) algorithm: String,
    pub(crate) min_bytes: usize,
    pub(crate) mean_bytes: usize,
    pub(crate) max_bytes: usize,
}

/// What cannot be read.
pub(crate) enum Unreadable {
    /// It is another version's.
    Version(u64),
    /// It is nothing that this program wrote.
    Other(String),
}

impl Format {
    pub(crate) fn new(id: Uuid, keys: &Keys, key_fingerprint: String, now: Timestamp) -> Self {
        Self {
            about: ABOUT.into(),
            format: FORMAT,
            id,
            created_at: now.to_string(),
            key_check: check(keys),
            key_fingerprint,
            chunking: Chunking {
                algorithm: "FastCDC v2020, normalization 3, with a seed from the key".into(),
                min_bytes: MIN_CHUNK,
                mean_bytes: MEAN_CHUNK,
                max_bytes: MAX_CHUNK,
            },
            compression: "zstd".into(),
            sealing: "XChaCha20-Poly1305".into(),
            pack_bytes: PACK_LEN,
        }
    }

    pub(crate) fn parse(text: &[u8]) -> Result<Self, Unreadable> {
        #[derive(Deserialize)]
        struct Version {
            format: u64,
        }
        let other = |error: serde_json::Error| Unreadable::Other(error.to_string());
        let Version { format } = serde_json::from_slice(text).map_err(other)?;
        if format != FORMAT {
            return Err(Unreadable::Version(format));
        }
        serde_json::from_slice(text).map_err(other)
    }

    pub(crate) fn to_text(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(self).expect("it is plain JSON");
        text.push(b'\n');
        text
    }

    pub(crate) fn fits(&self, keys: &Keys) -> bool {
        self.key_check == check(keys)
    }
}

fn check(keys: &Keys) -> String {
    blake3::Hash::from_bytes(*keys.check()).to_hex().to_string()
}
