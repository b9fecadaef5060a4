//! `keys/`: making, showing, configuring, rotating, trimming and deleting keys.

use std::sync::Arc;

use aws_lc_rs::signature::KeyPair;
use mainstay_secrets_engine::{Answer, Refusal, Request};
use mainstay_types::Timestamp;
use serde_json::{Map, Value, json};

use crate::engine::{Transit, compute};
use crate::entry::{Archive, Entry, Mark, Settings, StoredVersion};
use crate::key::{Key, Version};
use crate::key_type::{Family, KeyType};
use crate::keyring::{Document, Outcome};
use crate::material::{Material, derive_ed25519, generate};
use crate::wire;

/// Bytes of an HMAC key: at least as long as the shortest hash that is safe, and no longer than helps.
const HMAC_KEY_SIZES: std::ops::RangeInclusive<u32> = 32..=512;
const DEFAULT_HMAC_KEY_SIZE: u32 = 32;

/// Keys rotate at most once an hour by themselves.
const SHORTEST_ROTATION_SECONDS: u64 = 3600;

/// Whether a key was made, or somebody had made it before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    Now,
    Before,
}

pub async fn list(transit: &Transit) -> Result<Answer, Refusal> {
    let names = transit.keys.names().await?;
    if names.is_empty() { Err(Refusal::NotFound) } else { Ok(Answer::keys(names)) }
}

pub async fn read(transit: &Transit, name: &str, request: &Request) -> Result<Answer, Refusal> {
    let key = transit.keys.get(name).await?.ok_or(Refusal::NotFound)?;
    let context = request.fields().text("context")?.unwrap_or_default();
    let context = wire::decode(&context).map_err(|_| Refusal::invalid("failed to base64-decode context"))?;
    show(&key, &context)
}

pub async fn create(transit: &Transit, name: &str, request: &Request) -> Result<Answer, Refusal> {
    let settings = requested(request)?;
    let (key, created) = make(transit, name, settings, request.now).await?;
    let answer = show(&key, &[])?;
    Ok(if created == Created::Now { answer } else { answer.warning(format!("key {name} already existed")) })
}

/// Makes a key, unless there is one.
pub async fn make(
    transit: &Transit,
    name: &str,
    settings: Settings,
    now: Timestamp,
) -> Result<(Arc<Key>, Created), Refusal> {
    if let Some(key) = transit.keys.get(name).await? {
        return Ok((key, Created::Before));
    }
    let (first, settings) = generated(settings, now).await?;
    let made = transit.keys.change(name, move |document| {
        if document.is_some() {
            return Ok(Outcome::Same(Created::Before));
        }
        let entry = Entry::new(settings.clone(), first.clone());
        *document = Some(Document { entry, archive: Archive::new() });
        Ok(Outcome::Changed(Created::Now))
    });
    let (key, created) = made.await?;
    let gone = || Refusal::Failed { what: "error generating key: returned policy was nil".to_owned(), source: None };
    Ok((key.ok_or_else(gone)?, created))
}

pub async fn delete(transit: &Transit, name: &str) -> Result<Answer, Refusal> {
    let refused = format!("error deleting policy {name}: ");
    let deleted = transit.keys.change(name, move |document| {
        let Some(found) = document else {
            return Err(Refusal::invalid(format!("{refused}could not delete key; not found")));
        };
        if !found.entry.settings.deletion_allowed {
            return Err(Refusal::invalid(format!("{refused}deletion is not allowed for this key")));
        }
        *document = None;
        Ok(Outcome::Changed(()))
    });
    deleted.await?;
    Ok(Answer::nothing())
}

pub async fn rotate(transit: &Transit, name: &str, now: Timestamp) -> Result<Answer, Refusal> {
    let key = transit.keys.get(name).await?.ok_or_else(|| Refusal::invalid("key not found"))?;
    let (next, expected) = generated(key.settings.clone(), now).await?;
    let rotated = change(transit, name, "key not found", move |entry| {
        same_make(&entry.settings, &expected)?;
        entry.add(next.clone());
        Ok(Outcome::Changed(()))
    });
    let (key, ()) = rotated.await?;
    show(&key, &[])
}

/// Rotates every key whose period is over. One that cannot be rotated does not keep the others from it.
pub async fn rotate_due(transit: &Transit, now: Timestamp) -> Result<(), Refusal> {
    let mut failed = None;
    for name in transit.keys.names().await? {
        let outcome = async {
            let Some(entry) = transit.keys.stored(&name).await? else { return Ok(()) };
            let period = entry.settings.auto_rotate_seconds;
            let newest = entry.versions.values().next_back().map_or(now, |version| version.created);
            if period > 0 && newest.plus_seconds(period) < now {
                rotate(transit, &name, now).await?;
            }
            Ok(())
        };
        if let Err(error) = outcome.await {
            failed = failed.or(Some(error));
        }
    }
    failed.map_or(Ok(()), Err)
}

pub async fn configure(transit: &Transit, name: &str, request: &Request) -> Result<Answer, Refusal> {
    let wanted = Configuration::parse(request)?;
    let warned = wanted.min_decryption_version == Some(0);
    let missing = format!("no existing key named {name} could be found");
    let changed = change(transit, name, &missing, move |entry| {
        let before = entry.settings.clone();
        wanted.apply(&mut entry.settings)?;
        Ok(if entry.settings == before { Outcome::Same(()) } else { Outcome::Changed(()) })
    });
    let (key, ()) = changed.await?;
    let answer = show(&key, &[])?;
    let warning = "since Vault 0.3, transit key numbering starts at 1; forcing minimum to 1";
    Ok(if warned { answer.warning(warning) } else { answer })
}

pub async fn trim(transit: &Transit, name: &str, request: &Request) -> Result<Answer, Refusal> {
    let wanted = request.fields().integer("min_available_version")?;
    let trimmed = change(transit, name, "invalid key name", move |entry| {
        let wanted = wanted.ok_or_else(|| Refusal::invalid("missing min_available_version"))?;
        trim_settings(&mut entry.settings, wanted)?;
        Ok(Outcome::Changed(()))
    });
    let (key, ()) = trimmed.await?;
    show(&key, &[])
}

/// Changes a key that has to be there.
async fn change<T: Send + 'static>(
    transit: &Transit,
    name: &str,
    missing: &str,
    mut decide: impl FnMut(&mut Entry) -> Result<Outcome<T>, Refusal> + Send + 'static,
) -> Result<(Arc<Key>, T), Refusal> {
    let missing = missing.to_owned();
    let told = missing.clone();
    let changed = transit.keys.change(name, move |document| match document {
        Some(document) => decide(&mut document.entry),
        None => Err(Refusal::invalid(missing.clone())),
    });
    let (key, outcome) = changed.await?;
    Ok((key.ok_or(Refusal::Invalid(told))?, outcome))
}

/// A new version, made beside the async threads where that takes long.
async fn generated(settings: Settings, now: Timestamp) -> Result<(StoredVersion, Settings), Refusal> {
    if !matches!(settings.key_type.family(), Family::Rsa(_)) {
        return Ok((generate(&settings, now)?, settings));
    }
    compute(move || Ok((generate(&settings, now)?, settings))).await?
}

/// A version is made before the key is locked; meanwhile somebody may have put another key in its place.
fn same_make(found: &Settings, expected: &Settings) -> Result<(), Refusal> {
    if (found.key_type, found.key_size) == (expected.key_type, expected.key_size) {
        return Ok(());
    }
    let what = "the key was replaced by another request at the same time; try again".to_owned();
    Err(Refusal::Unavailable { what, source: None })
}

/// The settings of a new key.
fn requested(request: &Request) -> Result<Settings, Refusal> {
    let fields = request.fields();
    let yes = |name| fields.boolean(name).map(|truth| truth.unwrap_or(false));
    let auto_rotate_seconds = rotation_period(fields.seconds("auto_rotate_period")?.unwrap_or(0))?;
    let (derived, convergent) = (yes("derived")?, yes("convergent_encryption")?);
    if convergent && !derived {
        return Err(Refusal::invalid("convergent encryption requires derivation to be enabled"));
    }
    let type_name = fields.text("type")?.filter(|name| !name.is_empty());
    let type_name = type_name.as_deref().unwrap_or("aes256-gcm96");
    let unknown = || Refusal::invalid(format!("unknown key type {type_name}"));
    let key_type = KeyType::named(type_name).ok_or_else(unknown)?;
    if convergent && key_type == KeyType::Ed25519 {
        return Err(Refusal::invalid(format!("convergent encryption not supported for keys of type {key_type}")));
    }
    if derived && !key_type.derives() {
        let text = format!("key derivation and convergent encryption not supported for keys of type {key_type}");
        return Err(Refusal::Invalid(text));
    }
    let key_size = match (fields.count("key_size")?.unwrap_or(0), key_type) {
        (0, KeyType::Hmac) => DEFAULT_HMAC_KEY_SIZE,
        (0, _) => 0,
        (size, KeyType::Hmac) => {
            let fitting = u32::try_from(size).ok().filter(|size| HMAC_KEY_SIZES.contains(size));
            fitting.ok_or_else(|| Refusal::invalid(format!("invalid key_size {size}")))?
        }
        _ => return Err(Refusal::invalid(format!("key_size is not valid for algorithm {key_type}"))),
    };
    let (exportable, allow_plaintext_backup) = (yes("exportable")?, yes("allow_plaintext_backup")?);
    let settings = Settings::new(key_type);
    Ok(Settings { derived, convergent, exportable, allow_plaintext_backup, auto_rotate_seconds, key_size, ..settings })
}

/// What is to be changed of a key's settings.
struct Configuration {
    min_decryption_version: Option<i64>,
    min_encryption_version: Option<i64>,
    deletion_allowed: Option<bool>,
    exportable: Option<bool>,
    allow_plaintext_backup: Option<bool>,
    auto_rotate_seconds: Option<u64>,
}

impl Configuration {
    fn parse(request: &Request) -> Result<Self, Refusal> {
        let fields = request.fields();
        Ok(Self {
            min_decryption_version: fields.integer("min_decryption_version")?,
            min_encryption_version: fields.integer("min_encryption_version")?,
            deletion_allowed: fields.boolean("deletion_allowed")?,
            exportable: fields.boolean("exportable")?,
            allow_plaintext_backup: fields.boolean("allow_plaintext_backup")?,
            auto_rotate_seconds: fields.seconds("auto_rotate_period")?.map(rotation_period).transpose()?,
        })
    }

    fn apply(&self, settings: &mut Settings) -> Result<(), Refusal> {
        let latest = settings.latest_version;
        let version = |wanted: i64, what: &str| match u32::try_from(wanted) {
            Ok(version) if version <= latest => Ok(version),
            Err(_) if wanted < 0 => Err(Refusal::invalid(format!("min {what} version cannot be negative"))),
            _ => {
                let text = format!("cannot set min {what} version of {wanted}, latest key version is {latest}");
                Err(Refusal::Invalid(text))
            }
        };
        let before = settings.clone();
        if let Some(wanted) = self.min_decryption_version {
            // Versions begin with 1; whoever asks for 0 means all of them.
            settings.min_decryption_version = version(wanted, "decryption")?.max(1);
        }
        if let Some(wanted) = self.min_encryption_version {
            settings.min_encryption_version = version(wanted, "encryption")?;
        }
        let (encryption, decryption) = (settings.min_encryption_version, settings.min_decryption_version);
        if encryption > 0 && encryption < decryption {
            return Err(Refusal::invalid(format!(
                "cannot set min encryption/decryption values; min encryption version of {encryption} must be greater \
                 than or equal to min decryption version of {decryption}"
            )));
        }
        settings.deletion_allowed = self.deletion_allowed.unwrap_or(settings.deletion_allowed);
        // Once given, these two are not taken back: whoever has the key out already has it.
        settings.exportable |= self.exportable.unwrap_or(false);
        settings.allow_plaintext_backup |= self.allow_plaintext_backup.unwrap_or(false);
        settings.auto_rotate_seconds = self.auto_rotate_seconds.unwrap_or(settings.auto_rotate_seconds);
        if *settings != before && settings.min_available_version > encryption {
            return Err(Refusal::invalid("min encryption version should not be less than min available version"));
        }
        if settings.min_available_version > decryption {
            return Err(Refusal::invalid("min decryption version should not be less then min available version"));
        }
        Ok(())
    }
}

fn trim_settings(settings: &mut Settings, wanted: i64) -> Result<(), Refusal> {
    let refused = |what: &str| Err(Refusal::invalid(format!("minimum available version {what}")));
    if wanted < i64::from(settings.min_available_version) {
        return refused("cannot be decremented");
    }
    if settings.min_encryption_version == 0 {
        return refused("cannot be set when minimum encryption version is not set");
    }
    if wanted > i64::from(settings.min_encryption_version) {
        return refused("cannot be greater than minmum encryption version");
    }
    if wanted > i64::from(settings.min_decryption_version) {
        return refused("cannot be greater than minimum decryption version");
    }
    match u32::try_from(wanted) {
        Err(_) => refused("cannot be negative"),
        Ok(0) => refused("should be positive"),
        Ok(version) => {
            settings.min_available_version = version;
            Ok(())
        }
    }
}

fn rotation_period(seconds: u64) -> Result<u64, Refusal> {
    if seconds != 0 && seconds < SHORTEST_ROTATION_SECONDS {
        return Err(Refusal::invalid("auto rotate period must be 0 to disable or at least an hour"));
    }
    Ok(seconds)
}

/// What the API shows of a key.
fn show(key: &Key, context: &[u8]) -> Result<Answer, Refusal> {
    let settings = &key.settings;
    let key_type = settings.key_type;
    let mut shown = json!({
        "name": key.name,
        "type": key_type.name(),
        "derived": settings.derived,
        "deletion_allowed": settings.deletion_allowed,
        "min_available_version": settings.min_available_version,
        "min_decryption_version": settings.min_decryption_version,
        "min_encryption_version": settings.min_encryption_version,
        "latest_version": settings.latest_version,
        "exportable": settings.exportable,
        "allow_plaintext_backup": settings.allow_plaintext_backup,
        "supports_encryption": key_type.encrypts(),
        "supports_decryption": key_type.encrypts(),
        "supports_signing": key_type.signs(),
        "supports_derivation": key_type.derives(),
        "auto_rotate_period": settings.auto_rotate_seconds,
        "imported_key": false,
    });
    if settings.key_size != 0 {
        shown["key_size"] = settings.key_size.into();
    }
    for (name, mark) in [("backup_info", settings.backup), ("restore_info", settings.restore)] {
        if let Some(Mark { time, version }) = mark {
            shown[name] = json!({ "time": time, "version": version });
        }
    }
    if settings.derived {
        shown["kdf"] = "hkdf_sha256".into();
        shown["convergent_encryption"] = settings.convergent.into();
        if settings.convergent {
            // Vault's way to say that each version says it, and in all of them it is the third.
            shown["convergent_encryption_version"] = (-1).into();
        }
    }
    let versions = key.versions.iter();
    let versions =
        versions.map(|(number, version)| Ok((number.to_string(), show_version(key_type, version, context)?)));
    shown["keys"] = Value::Object(versions.collect::<Result<Map<_, _>, Refusal>>()?);
    Ok(Answer::data(shown))
}

fn show_version(key_type: KeyType, version: &Version, context: &[u8]) -> Result<Value, Refusal> {
    let Some(public_key) = &version.public_key else {
        return Ok((version.created.as_micros().div_euclid(1_000_000)).into());
    };
    let public_key = match &version.material {
        Material::DerivedEd25519(prk) if !context.is_empty() => {
            wire::encode(derive_ed25519(prk, context)?.public_key().as_ref())
        }
        _ => public_key.clone(),
    };
    let name = match key_type {
        KeyType::EcdsaP256 => "P-256",
        KeyType::EcdsaP384 => "P-384",
        KeyType::EcdsaP521 => "P-521",
        other => other.name(),
    };
    Ok(json!({ "name": name, "public_key": public_key, "creation_time": version.created }))
}
