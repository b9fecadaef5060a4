//! `backup` and `restore`: a key with everything about it, in the clear, in the form of Vault's own backups.
//!
//! What is a plain byte string there (symmetric keys, Ed25519, HMAC) moves in both directions. ECDSA and RSA keys are
//! big numbers in Vault's form; ours carry PKCS#8 beside, and a backup of another Vault with such a key is refused.

use std::collections::BTreeMap;

use mainstay_secrets_engine::{Answer, Refusal, Request};
use mainstay_types::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::engine::{Transit, key_name};
use crate::entry::{Archive, Entry, FORMAT, Mark, Secret, Settings, StoredVersion, Versions};
use crate::key_type::{Family, KeyType};
use crate::keyring::{Document, Outcome};
use crate::paths::items::answer;
use crate::wire;

/// Vault's number for HKDF-SHA256. The one before it, which Vault used before 0.6, is not offered here.
const HKDF_SHA256: u8 = 1;
/// Vault's number for the convergent encryption that is offered here.
const CONVERGENT: i32 = 3;
/// What Vault writes for a whole key with convergent encryption: each version says which.
const CONVERGENT_BY_VERSION: i32 = -1;
const NANOSECONDS: u64 = 1_000_000_000;

#[derive(Serialize, Deserialize)]
struct Backup {
    policy: Policy,
    archived_keys: Option<ArchivedKeys>,
}

#[derive(Serialize, Deserialize)]
struct Policy {
    name: String,
    #[serde(default)]
    key_size: u32,
    keys: BTreeMap<u32, VersionBackup>,
    derived: bool,
    kdf: u8,
    convergent_encryption: bool,
    exportable: bool,
    min_decryption_version: u32,
    min_encryption_version: u32,
    latest_version: u32,
    archive_version: u32,
    #[serde(default)]
    archive_min_version: u32,
    #[serde(default)]
    min_available_version: u32,
    deletion_allowed: bool,
    convergent_version: i32,
    #[serde(rename = "type")]
    key_type: u8,
    backup_info: Option<Mark>,
    restore_info: Option<Mark>,
    #[serde(default)]
    allow_plaintext_backup: bool,
    #[serde(default)]
    version_template: String,
    #[serde(default)]
    storage_prefix: String,
    /// In nanoseconds.
    #[serde(default)]
    auto_rotate_period: u64,
}

#[derive(Default, Serialize, Deserialize)]
struct ArchivedKeys {
    /// From the lowest version that is available, without a gap.
    keys: Vec<VersionBackup>,
}

#[derive(Clone, Serialize, Deserialize)]
struct VersionBackup {
    key: Secret,
    hmac_key: Secret,
    time: Timestamp,
    #[serde(default)]
    convergent_version: i32,
    /// Seconds since the Unix epoch.
    #[serde(default)]
    creation_time: i64,
    #[serde(default)]
    public_key: String,
    /// Ours alone: keys that Vault has as numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pkcs8: Option<Secret>,
}

pub async fn backup(transit: &Transit, request: &Request, name: &str) -> Result<Answer, Refusal> {
    let (now, owned) = (request.now, name.to_owned());
    let backed_up = transit.keys.change(name, move |document| {
        let Some(document) = document else { return Err(failed(format!("key {owned:?} not found"))) };
        let settings = &mut document.entry.settings;
        if !settings.exportable {
            return Err(failed("exporting is disallowed on the policy"));
        }
        if !settings.allow_plaintext_backup {
            return Err(failed("plaintext backup is disallowed on the policy"));
        }
        settings.backup = Some(Mark { time: now, version: settings.latest_version });
        let written = serde_json::to_vec(&Backup::of(&owned, document));
        let written = Zeroizing::new(written.map_err(|error| Refusal::failed("the backup cannot be written", error))?);
        Ok(Outcome::Changed(wire::encode(&written)))
    });
    let (_, backup) = backed_up.await?;
    Ok(answer([("backup", backup.into())]))
}

pub async fn restore(transit: &Transit, request: &Request, name: Option<&str>) -> Result<Answer, Refusal> {
    let fields = request.fields();
    let text = fields.text("backup")?.filter(|text| !text.is_empty());
    let text = Zeroizing::new(text.ok_or_else(|| Refusal::invalid("'backup' must be supplied"))?);
    let force = fields.boolean("force")?.unwrap_or(false);
    let bytes = Zeroizing::new(wire::decode(&text).map_err(|error| Refusal::invalid(error.to_string()))?);
    // What serde says of an error could repeat a part of a key.
    let backup: Backup = serde_json::from_slice(&bytes)
        .map_err(|_| Refusal::invalid("the backup is not one of a transit key, or is damaged"))?;
    let name = match name {
        Some(name) => name.to_owned(),
        None => key_name(&backup.policy.name)
            .map_err(|_| Refusal::invalid("the backup names a key that cannot be; restore it under another name"))?
            .to_owned(),
    };
    let restored = backup.document(request.now)?;
    let owned = name.clone();
    let made = transit.keys.change(&name, move |document| {
        if document.is_some() && !force {
            return Err(failed(format!("key {owned:?} already exists")));
        }
        *document = Some(Document { entry: restored.entry.clone(), archive: restored.archive.clone() });
        Ok(Outcome::Changed(()))
    });
    made.await?;
    Ok(Answer::nothing())
}

impl Backup {
    fn of(name: &str, document: &Document) -> Self {
        let settings = &document.entry.settings;
        let version = |stored: &StoredVersion| VersionBackup::of(settings, stored);
        let keys = document.entry.versions.iter().map(|(number, stored)| (*number, version(stored))).collect();
        // Vault's archive begins with the version 0, which was never one, until a key is trimmed.
        let nothing = (settings.min_available_version == 0).then(VersionBackup::nothing);
        let all = document.archive.versions.values().chain(document.entry.versions.values());
        let archived = nothing.into_iter().chain(all.map(version)).collect();
        let policy = Policy {
            name: name.to_owned(),
            key_size: settings.key_size,
            keys,
            derived: settings.derived,
            kdf: if settings.derived { HKDF_SHA256 } else { 0 },
            convergent_encryption: settings.convergent,
            exportable: settings.exportable,
            min_decryption_version: settings.min_decryption_version,
            min_encryption_version: settings.min_encryption_version,
            latest_version: settings.latest_version,
            archive_version: settings.latest_version,
            archive_min_version: settings.min_available_version,
            min_available_version: settings.min_available_version,
            deletion_allowed: settings.deletion_allowed,
            convergent_version: if settings.convergent { CONVERGENT_BY_VERSION } else { 0 },
            key_type: settings.key_type.number(),
            backup_info: settings.backup,
            restore_info: settings.restore,
            allow_plaintext_backup: settings.allow_plaintext_backup,
            version_template: String::new(),
            storage_prefix: String::new(),
            auto_rotate_period: settings.auto_rotate_seconds.saturating_mul(NANOSECONDS),
        };
        Self { policy, archived_keys: Some(ArchivedKeys { keys: archived }) }
    }

    fn document(self, now: Timestamp) -> Result<Document, Refusal> {
        let refused = |text: &str| Refusal::invalid(format!("the backup cannot be restored: {text}"));
        let policy = self.policy;
        let key_type =
            KeyType::numbered(policy.key_type).ok_or_else(|| refused("its type of key is not known here"))?;
        if policy.derived && (policy.kdf != HKDF_SHA256 || !key_type.derives()) {
            return Err(refused("its keys are not derived with HKDF-SHA256, the only derivation that is offered"));
        }
        if !matches!(policy.version_template.as_str(), "" | "vault:v{{version}}:") {
            return Err(refused("its ciphertexts have a form of their own"));
        }
        let first = policy.min_decryption_version.max(1);
        let settings = Settings {
            derived: policy.derived,
            convergent: policy.convergent_encryption,
            exportable: policy.exportable,
            allow_plaintext_backup: policy.allow_plaintext_backup,
            deletion_allowed: policy.deletion_allowed,
            latest_version: policy.latest_version,
            min_decryption_version: first,
            min_encryption_version: policy.min_encryption_version,
            min_available_version: policy.min_available_version,
            auto_rotate_seconds: policy.auto_rotate_period / NANOSECONDS,
            key_size: policy.key_size,
            backup: policy.backup_info,
            restore: Some(Mark { time: now, version: policy.latest_version }),
            ..Settings::new(key_type)
        };
        let convergent = |version: &VersionBackup| match version.convergent_version {
            0 => policy.convergent_version == CONVERGENT,
            version => version == CONVERGENT,
        };
        let stored = |version: VersionBackup| {
            if settings.convergent && !convergent(&version) {
                return Err(refused("its convergent encryption is of an old version"));
            }
            version.stored(&settings).ok_or_else(|| {
                refused("ECDSA and RSA keys of another Vault are not understood; only those that were backed up here")
            })
        };
        let mut versions = Versions::new();
        for (number, version) in policy.keys {
            versions.insert(number, stored(version)?);
        }
        let mut archive = Archive::new();
        let archived = self.archived_keys.unwrap_or_default().keys;
        for (number, version) in (policy.min_available_version..first).zip(archived) {
            if number > 0 {
                archive.versions.insert(number, stored(version)?);
            }
        }
        let entry = Entry { format: FORMAT, settings, versions };
        if !entry.is_sound() {
            return Err(refused("its versions do not fit together"));
        }
        Ok(Document { entry, archive })
    }
}

impl VersionBackup {
    fn of(settings: &Settings, stored: &StoredVersion) -> Self {
        let numbers = matches!(settings.key_type.family(), Family::Ecdsa | Family::Rsa(_));
        let mac_is_key = settings.key_type == KeyType::Hmac;
        Self {
            key: if numbers { Secret::new(Vec::new()) } else { stored.key.clone() },
            hmac_key: if mac_is_key { stored.key.clone() } else { stored.hmac_key.clone() },
            time: stored.created,
            convergent_version: if settings.convergent { CONVERGENT } else { 0 },
            creation_time: stored.created.as_micros().div_euclid(1_000_000),
            public_key: match settings.key_type.family() {
                Family::Ed25519 => wire::encode(&stored.key.bytes()[stored.key.bytes().len() / 2..]),
                _ => String::new(),
            },
            pkcs8: numbers.then(|| stored.key.clone()),
        }
    }

    /// What stands in Vault's archive for a version that there never was.
    fn nothing() -> Self {
        let empty = || Secret::new(Vec::new());
        Self {
            key: empty(),
            hmac_key: empty(),
            time: Timestamp::EPOCH,
            convergent_version: 0,
            creation_time: 0,
            public_key: String::new(),
            pkcs8: None,
        }
    }

    fn stored(self, settings: &Settings) -> Option<StoredVersion> {
        let key = match settings.key_type.family() {
            Family::Ecdsa | Family::Rsa(_) => self.pkcs8?,
            _ => self.key,
        };
        let hmac_key = if settings.key_type == KeyType::Hmac { Secret::new(Vec::new()) } else { self.hmac_key };
        Some(StoredVersion { created: self.time, key, hmac_key })
    }
}

/// Vault answers 500 to what these two paths refuse.
fn failed(what: impl Into<String>) -> Refusal {
    Refusal::Failed { what: what.into(), source: None }
}
