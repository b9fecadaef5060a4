//! What stands in the log in the place of secrets.

use aws_lc_rs::hmac;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::residue;

const PREFIX: &[u8] = b"hmac-sha256:";
const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Hashes what must not be readable in the log, the same text always to the same hash.
pub(crate) struct Hasher {
    key: hmac::Key,
}

/// The hash of a text, in the log's words: what it is made with, and 64 digits.
pub(crate) struct Hash([u8; PREFIX.len() + 64]);

/// A value with every text in it hashed.
struct Hashed<'a> {
    hasher: &'a Hasher,
    value: &'a Value,
}

/// An object with every text in it hashed, except below the keys that its mount says may be read.
pub(crate) struct HashedObject<'a> {
    pub(crate) hasher: &'a Hasher,
    pub(crate) object: &'a Map<String, Value>,
    pub(crate) readable: &'a [String],
}

/// An object with the texts of some fields hashed.
pub(crate) struct HashedFields<'a> {
    pub(crate) hasher: &'a Hasher,
    pub(crate) object: &'a Map<String, Value>,
    pub(crate) hashed: &'static [&'static str],
}

// === impl Hasher ===

impl Hasher {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key) }
    }

    /// The hash of a text, as `sys/audit-hash` gives it to whoever looks for a value in the log.
    pub(crate) fn text(&self, text: &str) -> Hash {
        let tag = residue::cleared(|| hmac::sign(&self.key, text.as_bytes()));
        let mut hash = Hash([0; PREFIX.len() + 64]);
        let (prefix, digits) = hash.0.split_at_mut(PREFIX.len());
        prefix.copy_from_slice(PREFIX);
        for (pair, byte) in digits.chunks_exact_mut(2).zip(tag.as_ref()) {
            pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
        hash
    }
}

// === impl Hash ===

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(std::str::from_utf8(&self.0).expect("a hash is written in ASCII"))
    }
}

// === impl Hashed ===

impl Serialize for Hashed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { hasher, value } = *self;
        match value {
            Value::String(text) => hasher.text(text).serialize(serializer),
            Value::Array(items) => serializer.collect_seq(items.iter().map(|value| Hashed { hasher, value })),
            Value::Object(object) => HashedObject { hasher, object, readable: &[] }.serialize(serializer),
            // Numbers are secrets too: a PIN, an account.
            Value::Number(number) => hasher.text(&number.to_string()).serialize(serializer),
            Value::Bool(_) | Value::Null => value.serialize(serializer),
        }
    }
}

impl Serialize for HashedObject<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.object.len()))?;
        for (key, value) in self.object {
            if self.readable.contains(key) {
                map.serialize_entry(key, value)?;
            } else {
                map.serialize_entry(key, &Hashed { hasher: self.hasher, value })?;
            }
        }
        map.end()
    }
}

impl Serialize for HashedFields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.object.len()))?;
        for (key, value) in self.object {
            match value {
                Value::String(text) if self.hashed.contains(&key.as_str()) => {
                    map.serialize_entry(key, &self.hasher.text(text))?;
                }
                value => map.serialize_entry(key, value)?,
            }
        }
        map.end()
    }
}
