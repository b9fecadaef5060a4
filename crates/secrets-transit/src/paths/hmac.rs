//! `hmac`, and `verify` with an HMAC.

use aws_lc_rs::hmac;
use mainstay_secrets_engine::{Answer, Fields, Refusal};
use serde_json::{Map, Value};

use crate::engine::Task;
use crate::hashing::Hash;
use crate::key::Key;
use crate::paths::items::{Asked, Item, answer, object};
use crate::paths::sign::{input, named_algorithm};
use crate::rejection::Rejection;
use crate::wire::{self, Alphabet, Noun};

pub fn making<'a>(name: &'a str, algorithm: Option<&'a str>) -> Task<'a> {
    Task { name, missing: "encryption key not found", algorithm, private: false, work: make }
}

/// Checks what `verify` was given with an `hmac`.
pub fn verify(key: &Key, data: &Map<String, Value>, algorithm: Option<&str>) -> Result<Answer, Refusal> {
    let algorithm = hash(data, algorithm)?;
    match Asked::parse(data)? {
        Asked::One(item) => Ok(answer([("valid", verify_item(key, &item, algorithm)??.into())])),
        Asked::Batch(items) => {
            let results = items.iter().map(|item| {
                let outcome = verify_item(key, item, algorithm)?;
                let valid = *outcome.as_ref().unwrap_or(&false);
                Ok(item.answer(object([("valid", valid.into())]), outcome.as_ref().err()))
            });
            Ok(answer([("batch_results", results.collect::<Result<Vec<_>, Refusal>>()?.into())]))
        }
    }
}

fn make(key: &Key, data: &Map<String, Value>, algorithm: Option<&str>) -> Result<Answer, Refusal> {
    let settings = &key.settings;
    let version = match Fields::new(data).integer("key_version")?.unwrap_or(0) {
        0 => settings.latest_version,
        version if version < 0 => {
            return Err(Refusal::invalid("key version does not exist (cannot be negative)"));
        }
        version => u32::try_from(version).unwrap_or(u32::MAX),
    };
    if version != settings.latest_version && version < settings.min_encryption_version {
        return Err(Refusal::invalid("cannot generate HMAC: version is too old (disallowed by policy)"));
    }
    let mac_key = hmac::Key::new(hash(data, algorithm)?, key.hmac_key(version)?);
    let sign = |item: &Item<'_>| -> Result<Result<String, Rejection>, Refusal> {
        let input = input(item, "missing input for HMAC")?;
        Ok(input.map(|input| wire::write(version, hmac::sign(&mac_key, &input).as_ref(), Alphabet::Standard)))
    };
    match Asked::parse(data)? {
        Asked::One(item) => Ok(answer([("hmac", sign(&item)??.into())])),
        Asked::Batch(items) => {
            let results = items.iter().map(|item| {
                Ok(match sign(item)? {
                    Ok(made) => item.answer(object([("hmac", made.into())]), None),
                    Err(error) => item.answer(Map::new(), Some(&error)),
                })
            });
            Ok(answer([("batch_results", results.collect::<Result<Vec<_>, Refusal>>()?.into())]))
        }
    }
}

fn verify_item(key: &Key, item: &Item<'_>, algorithm: hmac::Algorithm) -> Result<Result<bool, Rejection>, Refusal> {
    let (input, given) = (input(item, "missing input")?, item.text("hmac")?);
    let verified = || {
        let (input, given) = (input?, given.ok_or_else(|| Rejection::mistake("missing hmac"))?);
        let (version, encoded) = wire::split(&given, Noun::Hmac)?;
        let tag = wire::decode_exactly(encoded, Alphabet::Standard)
            .map_err(|error| Rejection::mistake(format!("unable to decode verification HMAC as base64: {error}")))?;
        if version > key.settings.latest_version {
            return Err(Rejection::mistake("invalid HMAC: version is too new"));
        }
        if version < key.settings.min_decryption_version {
            return Err(Rejection::mistake("cannot verify HMAC: version is too old (disallowed by policy)"));
        }
        // The library compares in constant time.
        Ok(hmac::verify(&hmac::Key::new(algorithm, key.hmac_key(version)?), &input, &tag).is_ok())
    };
    Ok(verified())
}

fn hash(data: &Map<String, Value>, algorithm: Option<&str>) -> Result<hmac::Algorithm, Refusal> {
    let name = named_algorithm(data, algorithm)?;
    let algorithm = Hash::named(&name).and_then(Hash::hmac);
    algorithm.ok_or_else(|| Refusal::invalid(format!("unsupported algorithm {name:?}")))
}
