//! What version 2 keeps of a secret, and how it changes. Nothing in here reads or writes.

use std::collections::BTreeMap;

use mainstay_types::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::config::Config;

/// How many versions a secret keeps where nobody says another number.
const DEFAULT_MAX_VERSIONS: u32 = 10;

/// The number of this format, which each entry begins with.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub(crate) struct Format;

/// A secret without its values: one entry. Each read of a value opens it too, hence it is kept small: times are
/// microseconds since the Unix epoch, and what is not so of a version is left out.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Metadata {
    format: Format,
    pub(crate) current_version: u64,
    /// 0 as long as no version had to make place.
    pub(crate) oldest_version: u64,
    #[serde(with = "micros")]
    pub(crate) created_time: Timestamp,
    #[serde(with = "micros")]
    pub(crate) updated_time: Timestamp,
    /// 0 where the mount's counts.
    pub(crate) max_versions: u32,
    pub(crate) cas_required: bool,
    /// 0 where the mount's counts.
    pub(crate) delete_version_after_seconds: u64,
    pub(crate) custom_metadata: BTreeMap<String, String>,
    pub(crate) versions: BTreeMap<u64, Version>,
}

/// A version without its values.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Version {
    #[serde(with = "micros")]
    pub(crate) created_time: Timestamp,
    /// When it was or will be deleted.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_micros")]
    pub(crate) deletion_time: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) destroyed: bool,
}

/// The values of a version: one entry each. They are secret.
#[derive(Deserialize)]
pub(crate) struct Values {
    #[serde(rename = "format")]
    _format: Format,
    pub(crate) data: Map<String, Value>,
}

/// The same as it is written.
#[derive(Serialize)]
pub(crate) struct ValuesRef<'a> {
    format: Format,
    data: &'a Map<String, Value>,
}

/// Times as numbers.
mod micros {
    use mainstay_types::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(time.as_micros())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        i64::deserialize(deserializer).map(Timestamp::from_micros)
    }
}

/// Times as numbers, where there may be none.
mod optional_micros {
    use mainstay_types::Timestamp;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
        time.map(Timestamp::as_micros).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
        Ok(Option::<i64>::deserialize(deserializer)?.map(Timestamp::from_micros))
    }
}

// === impl Format ===

impl From<Format> for u8 {
    fn from(_: Format) -> u8 {
        1
    }
}

impl TryFrom<u8> for Format {
    type Error = String;

    fn try_from(number: u8) -> Result<Self, String> {
        match number {
            1 => Ok(Self),
            other => Err(format!("format {other} is not known to this version of Mainstay")),
        }
    }
}

// === impl Metadata ===

impl Metadata {
    /// A secret without versions.
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            format: Format,
            current_version: 0,
            oldest_version: 0,
            created_time: now,
            updated_time: now,
            max_versions: 0,
            cas_required: false,
            delete_version_after_seconds: 0,
            custom_metadata: BTreeMap::new(),
            versions: BTreeMap::new(),
        }
    }

    /// Adds a version. Answers the numbers of those that make place for it and whose values are to be removed.
    pub(crate) fn add_version(&mut self, config: &Config, now: Timestamp) -> Vec<u64> {
        self.current_version += 1;
        self.updated_time = now;
        let deletion_time = self.deletion_time(config, now);
        let version = Version { created_time: now, deletion_time, destroyed: false };
        self.versions.insert(self.current_version, version);

        let max_versions = match self.max_versions.max(config.max_versions) {
            0 => DEFAULT_MAX_VERSIONS,
            max_versions => max_versions,
        };
        if self.current_version - self.oldest_version < u64::from(max_versions) {
            return Vec::new();
        }
        self.oldest_version = self.current_version - u64::from(max_versions) + 1;
        let kept = self.versions.split_off(&self.oldest_version);
        let removed = std::mem::replace(&mut self.versions, kept);
        removed.into_iter().filter(|(_, version)| !version.destroyed).map(|(number, _)| number).collect()
    }

    /// Deletes a version, which can be taken back. One that is deleted, destroyed or gone already stays as it is.
    pub(crate) fn delete(&mut self, number: u64, now: Timestamp) -> bool {
        match self.versions.get_mut(&number) {
            Some(version) if version.is_readable(now) => {
                version.deletion_time = Some(now);
                true
            }
            _ => false,
        }
    }

    /// Takes a deletion back. The version is deleted again when a new one would be.
    pub(crate) fn undelete(&mut self, number: u64, config: &Config, now: Timestamp) {
        let deletion_time = self.deletion_time(config, now);
        if let Some(version) = self.versions.get_mut(&number).filter(|version| !version.destroyed) {
            version.deletion_time = deletion_time;
        }
    }

    /// Gives a version up for ever. Answers whether its values are still there to be removed.
    pub(crate) fn destroy(&mut self, number: u64) -> bool {
        let version = self.versions.get_mut(&number).filter(|version| !version.destroyed);
        version.map(|version| version.destroyed = true).is_some()
    }

    /// The numbers of the versions whose values are there.
    pub(crate) fn stored(&self) -> Vec<u64> {
        let stored = self.versions.iter().filter(|(_, version)| !version.destroyed);
        stored.map(|(number, _)| *number).collect()
    }

    /// When a version that is made now will be deleted: after the shorter time of the mount's and the secret's own.
    fn deletion_time(&self, config: &Config, now: Timestamp) -> Option<Timestamp> {
        let own = Some(self.delete_version_after_seconds).filter(|seconds| *seconds > 0);
        let seconds = config.delete_version_after.shorter_of(own)?;
        Some(now.plus_seconds(seconds))
    }

    /// What an answer says of a version.
    pub(crate) fn describe(&self, number: u64, version: &Version) -> Value {
        json!({
            "version": number,
            "created_time": version.created_time,
            "deletion_time": version.deletion_text(),
            "destroyed": version.destroyed,
            "custom_metadata": self.custom_metadata(),
        })
    }

    /// `null` where there is none.
    pub(crate) fn custom_metadata(&self) -> Value {
        match &self.custom_metadata {
            custom if custom.is_empty() => Value::Null,
            custom => json!(custom),
        }
    }
}

// === impl Version ===

impl Version {
    /// Whether its values may be read: it is neither deleted nor destroyed.
    pub(crate) fn is_readable(&self, now: Timestamp) -> bool {
        !self.destroyed && self.deletion_time.is_none_or(|time| time > now)
    }

    /// Empty where it is not deleted.
    pub(crate) fn deletion_text(&self) -> String {
        self.deletion_time.map(|time| time.to_string()).unwrap_or_default()
    }
}

// === impl ValuesRef ===

impl<'a> ValuesRef<'a> {
    pub(crate) fn new(data: &'a Map<String, Value>) -> Self {
        Self { format: Format, data }
    }
}
