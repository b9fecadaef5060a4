//! `export`: the keys themselves, where their owner made them exportable.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use mainstay_secrets_engine::{Answer, Refusal, Request};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use crate::ecdsa::EcdsaPair;
use crate::engine::Transit;
use crate::entry::{Settings, StoredVersion};
use crate::key_type::{Family, KeyType};
use crate::material::Material;
use crate::rejection::Rejection;
use crate::{pem, wire};

/// What is exported of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Export {
    Encryption,
    Signing,
    Hmac,
    Public,
}

/// How a key is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// What Vault gives for the type of the key.
    Usual,
    Raw,
    Der,
    Pem,
}

pub async fn export(
    transit: &Transit,
    request: &Request,
    kind: &str,
    name: &str,
    version: Option<&str>,
) -> Result<Answer, Refusal> {
    let export = match kind {
        "encryption-key" => Export::Encryption,
        "signing-key" => Export::Signing,
        "hmac-key" => Export::Hmac,
        "public-key" => Export::Public,
        _ => return Err(Refusal::invalid(format!("invalid export type: {kind}"))),
    };
    let format = match request.fields().text("format")?.as_deref() {
        None | Some("") => Format::Usual,
        Some("raw") => Format::Raw,
        Some("der") => Format::Der,
        Some("pem") => Format::Pem,
        Some(format) => return Err(Refusal::invalid(format!("invalid format: {format}"))),
    };
    let entry = transit.keys.stored(name).await?.ok_or(Refusal::NotFound)?;
    let settings = &entry.settings;
    if !settings.exportable && export != Export::Public {
        return Err(Refusal::invalid("private key material is not exportable"));
    }
    if export == Export::Encryption && !settings.key_type.encrypts() {
        return Err(Refusal::invalid("encryption not supported for the key"));
    }
    if export == Export::Signing && !settings.key_type.signs() {
        return Err(Refusal::invalid("signing not supported for the key"));
    }
    let chosen = match version {
        None => None,
        Some("latest") => Some(settings.latest_version),
        Some(text) => {
            let version = text.strip_prefix('v').unwrap_or(text).parse();
            let version: u32 = version.map_err(|_| Refusal::invalid("invalid key version"))?;
            if version < settings.min_decryption_version {
                return Err(Refusal::invalid("version for export is below minimum decryption version"));
            }
            if !entry.versions.contains_key(&version) {
                return Err(Refusal::invalid("version does not exist or cannot be found"));
            }
            Some(version)
        }
    };
    let mut keys = Map::new();
    for (number, version) in &entry.versions {
        if chosen.is_none_or(|chosen| chosen == *number) {
            keys.insert(number.to_string(), Value::String(written(settings, version, export, format)?));
        }
    }
    Ok(Answer::data(json!({ "name": name, "type": settings.key_type.name(), "keys": keys })))
}

fn written(settings: &Settings, version: &StoredVersion, export: Export, format: Format) -> Result<String, Rejection> {
    let key_type = settings.key_type;
    let family = key_type.family();
    match (export, family) {
        (Export::Hmac, _) => {
            let key = if key_type == KeyType::Hmac { &version.key } else { &version.hmac_key };
            raw(key.bytes(), format)
        }
        (Export::Encryption, Family::Symmetric) => raw(version.key.bytes(), format),
        (Export::Encryption | Export::Signing, Family::Rsa(_)) => private(version, format, key_type),
        (Export::Signing, Family::Ecdsa) => Ok(private(version, format, key_type)?.trim_end().to_owned()),
        (Export::Signing, Family::Ed25519) => match format {
            Format::Usual | Format::Raw => Ok(wire::encode(version.key.bytes())),
            Format::Der | Format::Pem => Ok(private(version, format, key_type)?.trim_end().to_owned()),
        },
        (Export::Public, Family::Ed25519) if matches!(format, Format::Usual | Format::Raw) => {
            Ok(Material::open(settings, version.key.bytes())?.public_key()?.unwrap_or_default())
        }
        (Export::Public, Family::Ed25519 | Family::Ecdsa | Family::Rsa(_)) => {
            if format == Format::Raw {
                return Err(no_raw(family));
            }
            let der = Material::open(settings, version.key.bytes())?.public_der()?;
            let der = der.ok_or_else(|| Rejection::mistake("a derived key has a public key for each context"))?;
            Ok(match format {
                Format::Der => wire::encode(&der),
                _ if matches!(family, Family::Rsa(_)) => pem::encode("PUBLIC KEY", &der),
                _ => pem::encode("PUBLIC KEY", &der).trim_end().to_owned(),
            })
        }
        _ => {
            let kind = match export {
                Export::Encryption => "encryption-key",
                Export::Signing => "signing-key",
                Export::Hmac => "hmac-key",
                Export::Public => "public-key",
            };
            Err(Rejection::mistake(format!("unknown key type {key_type} for export type {kind}")))
        }
    }
}

/// A key that is nothing but bytes.
fn raw(key: &[u8], format: Format) -> Result<String, Rejection> {
    match format {
        Format::Usual | Format::Raw => Ok(wire::encode(key)),
        Format::Der | Format::Pem => {
            Err(Rejection::mistake("unknown format for HMAC key; supported values are `` or `raw`"))
        }
    }
}

/// A private key: by default in the form of its own standard, otherwise as PKCS#8.
fn private(version: &StoredVersion, format: Format, key_type: KeyType) -> Result<String, Rejection> {
    let family = key_type.family();
    let pkcs8 = if family == Family::Ed25519 {
        let unusable = |_| Rejection::failure("a stored ed25519 key cannot be read");
        let (seed, public) = version.key.bytes().split_at(version.key.bytes().len() / 2);
        let pair = aws_lc_rs::signature::Ed25519KeyPair::from_seed_and_public_key(seed, public).map_err(unusable)?;
        let der: Pkcs8V1Der<'_> = pair.as_der()?;
        Zeroizing::new(der.as_ref().to_vec())
    } else {
        Zeroizing::new(version.key.bytes().to_vec())
    };
    match (format, family) {
        (Format::Raw, _) => Err(no_raw(family)),
        (Format::Der, _) => Ok(wire::encode(&pkcs8)),
        (Format::Pem, _) | (Format::Usual, Family::Ed25519) => Ok(pem::encode("PRIVATE KEY", &pkcs8)),
        (Format::Usual, Family::Ecdsa) => {
            let pair = EcdsaPair::open(key_type, &pkcs8);
            let pair = pair.ok_or_else(|| Rejection::failure(format!("a stored {key_type} key cannot be read")))?;
            Ok(pem::encode("EC PRIVATE KEY", pair.sec1()?.bytes()))
        }
        (Format::Usual, _) => {
            let pkcs1 = pem::private_key_within(&pkcs8);
            let pkcs1 = pkcs1.ok_or_else(|| Rejection::failure("a stored RSA key is not PKCS#8"))?;
            Ok(pem::encode("RSA PRIVATE KEY", pkcs1))
        }
    }
}

fn no_raw(family: Family) -> Rejection {
    let name = match family {
        Family::Rsa(_) => "rsa",
        Family::Ecdsa => "ec",
        _ => "ed25519",
    };
    Rejection::mistake(format!("unknown key format for {name} key; supported values are ``, `der`, or `pem`"))
}
