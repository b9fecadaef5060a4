//! `encrypt`, `decrypt`, `rewrap` and `datakey`.

use std::borrow::Cow;

use aws_lc_rs::rand;
use mainstay_secrets_engine::{Answer, Fields, Operation, Refusal, Request};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::engine::{Task, Transit};
use crate::entry::Settings;
use crate::key::Key;
use crate::key_type::{Family, KeyType};
use crate::paths::admin::{self, Created};
use crate::paths::items::{Asked, Item, Tally, answer, object};
use crate::paths::settings;
use crate::rejection::Rejection;
use crate::wire;

const KEY_NOT_FOUND: &str = "encryption key not found";

/// Encrypts; makes the key first where there is none and the caller may make one.
pub async fn encrypt(transit: &Transit, name: &str, request: &Request) -> Result<Answer, Refusal> {
    let made = match request.operation {
        Operation::Create => make_key(transit, name, request).await?,
        _ => None,
    };
    let task = Task { name, missing: KEY_NOT_FOUND, algorithm: None, private: false, work: encrypt_with };
    let answer = transit.run(request, task).await?;
    Ok(match made {
        Some(Created::Before) => {
            answer.warning("Attempted creation of the key during the encrypt operation, but it was created beforehand")
        }
        _ => answer,
    })
}

pub fn decrypting(name: &str) -> Task<'_> {
    Task { name, missing: KEY_NOT_FOUND, algorithm: None, private: true, work: decrypt_with }
}

pub fn rewrapping(name: &str) -> Task<'_> {
    Task { name, missing: KEY_NOT_FOUND, algorithm: None, private: true, work: rewrap_with }
}

pub fn data_key(name: &str, shown: bool) -> Task<'_> {
    let work = if shown { shown_data_key } else { wrapped_data_key };
    Task { name, missing: KEY_NOT_FOUND, algorithm: None, private: false, work }
}

/// Makes the key that an encryption names, with what the encryption says about it.
async fn make_key(transit: &Transit, name: &str, request: &Request) -> Result<Option<Created>, Refusal> {
    let asked = Asked::parse(&request.data)?;
    for item in asked.items() {
        plaintext(item)?;
    }
    let derived = asked.has_context()?;
    let convergent = request.fields().boolean("convergent_encryption")?.unwrap_or(false);
    if convergent && !derived {
        let text = "convergent encryption requires derivation to be enabled, so context is required";
        return Err(Refusal::invalid(text));
    }
    let type_name = request.fields().text("type")?.filter(|name| !name.is_empty());
    let type_name = type_name.as_deref().unwrap_or("aes256-gcm96");
    let key_type = match KeyType::named(type_name) {
        None => return Err(Refusal::invalid(format!("unknown key type {type_name}"))),
        Some(key_type) if key_type.family() == Family::Symmetric => key_type,
        Some(_) => return Err(Refusal::invalid(format!("key type {type_name} not supported for this operation"))),
    };
    if settings::upsert_is_disabled(&transit.storage).await? {
        return Ok(None);
    }
    let settings = Settings { derived, convergent, ..Settings::new(key_type) };
    admin::make(transit, name, settings, request.now).await.map(|(_, created)| Some(created))
}

fn encrypt_with(key: &Key, data: &Map<String, Value>, _: Option<&str>) -> Result<Answer, Refusal> {
    let asked = Asked::parse(data)?;
    asked.has_context()?;
    let items = match asked {
        Asked::One(item) => {
            let (ciphertext, version) = encrypt_item(key, &item)??;
            return Ok(answer([("ciphertext", ciphertext.into()), ("key_version", version.into())]));
        }
        Asked::Batch(items) => items,
    };
    let mut tally = Tally::default();
    let mut results = Vec::with_capacity(items.len());
    for item in &items {
        let outcome = encrypt_item(key, item)?;
        tally.count(&outcome);
        results.push(encrypted(item, outcome));
    }
    tally.close(answer([("batch_results", results.into())]), data)
}

fn decrypt_with(key: &Key, data: &Map<String, Value>, _: Option<&str>) -> Result<Answer, Refusal> {
    let asked = Asked::parse(data)?;
    asked.has_context()?;
    let items = match asked {
        Asked::One(item) => return Ok(answer([("plaintext", decrypt_item(key, &item)??.into())])),
        Asked::Batch(items) => items,
    };
    let mut tally = Tally::default();
    let mut results = Vec::with_capacity(items.len());
    for item in &items {
        let outcome = decrypt_item(key, item)?;
        tally.count(&outcome);
        let (plaintext, error) = match outcome {
            Ok(plaintext) => (plaintext, None),
            Err(error) => (String::new(), Some(error)),
        };
        results.push(item.answer(object([("plaintext", plaintext.into())]), error.as_ref()));
    }
    tally.close(answer([("batch_results", results.into())]), data)
}

/// Rewrapping tells in each item how it went, and answers 200 whatever came out, as Vault does.
fn rewrap_with(key: &Key, data: &Map<String, Value>, _: Option<&str>) -> Result<Answer, Refusal> {
    let asked = Asked::parse(data)?;
    asked.has_context()?;
    match asked {
        Asked::One(item) => {
            let (ciphertext, version) = rewrap_item(key, &item)??;
            Ok(answer([("ciphertext", ciphertext.into()), ("key_version", version.into())]))
        }
        Asked::Batch(items) => {
            let results = items.iter().map(|item| Ok(encrypted(item, rewrap_item(key, item)?)));
            Ok(answer([("batch_results", results.collect::<Result<Vec<_>, Refusal>>()?.into())]))
        }
    }
}

fn shown_data_key(key: &Key, data: &Map<String, Value>, _: Option<&str>) -> Result<Answer, Refusal> {
    make_data_key(key, data, true)
}

fn wrapped_data_key(key: &Key, data: &Map<String, Value>, _: Option<&str>) -> Result<Answer, Refusal> {
    make_data_key(key, data, false)
}

fn make_data_key(key: &Key, data: &Map<String, Value>, shown: bool) -> Result<Answer, Refusal> {
    let fields = Fields::new(data);
    let context = fields.text("context")?.map(|context| wire::decode(&context)).transpose();
    let context = context.map_err(|_| Refusal::invalid("failed to base64-decode context"))?.unwrap_or_default();
    let length = match fields.integer("bits")?.unwrap_or(256) {
        128 => 16,
        256 => 32,
        512 => 64,
        _ => return Err(Refusal::invalid("invalid bit length")),
    };
    let mut made = Zeroizing::new(vec![0; length]);
    rand::fill(&mut made).map_err(Rejection::from)?;
    let plaintext = wire::encode(&made);
    let version = fields.integer("key_version")?.unwrap_or(0);
    let (ciphertext, version) = key.encrypt(version, &context, &[], &plaintext)?;
    let mut answered = object([("ciphertext", ciphertext.into()), ("key_version", version.into())]);
    if shown {
        answered.insert("plaintext".to_owned(), plaintext.into());
    }
    Ok(Answer { data: Some(answered), ..Answer::default() })
}

fn encrypt_item(key: &Key, item: &Item<'_>) -> Result<Result<(String, u32), Rejection>, Refusal> {
    let plaintext = plaintext(item)?;
    let version = item.key_version()?;
    // Only the very first convergent keys took a nonce from their caller.
    if item.text("nonce")?.is_some_and(|nonce| !nonce.is_empty()) {
        return Ok(Err(Rejection::mistake("nonce provided when not allowed")));
    }
    let (context, aad) = (item.bytes("context")?, associated_data(key, item)?);
    Ok(context.and_then(|context| key.encrypt(version, &context, &aad?, &plaintext)))
}

fn decrypt_item(key: &Key, item: &Item<'_>) -> Result<Result<String, Rejection>, Refusal> {
    let Some(ciphertext) = item.text("ciphertext")?.filter(|text| !text.is_empty()) else {
        return Ok(Err(Rejection::mistake("missing ciphertext to decrypt")));
    };
    let (context, aad) = (item.bytes("context")?, associated_data(key, item)?);
    Ok(context.and_then(|context| key.decrypt(&context, &aad?, &ciphertext)))
}

fn rewrap_item(key: &Key, item: &Item<'_>) -> Result<Result<(String, u32), Rejection>, Refusal> {
    let plaintext = match decrypt_item(key, item)? {
        Ok(plaintext) => Zeroizing::new(plaintext),
        Err(error) => return Ok(Err(error)),
    };
    let (version, context) = (item.key_version()?, item.bytes("context")?);
    let aad = associated_data(key, item)?;
    Ok(context.and_then(|context| key.encrypt(version, &context, &aad?, &plaintext)))
}

fn plaintext<'a>(item: &Item<'a>) -> Result<Cow<'a, str>, Refusal> {
    item.text("plaintext")?.ok_or_else(|| Refusal::invalid("missing plaintext to encrypt"))
}

fn associated_data(key: &Key, item: &Item<'_>) -> Result<Result<Vec<u8>, Rejection>, Refusal> {
    let Ok(data) = item.bytes("associated_data")? else {
        return Ok(Err(Rejection::mistake("failed to base64-decode associated_data")));
    };
    let key_type = key.settings.key_type;
    if !data.is_empty() && !key_type.takes_associated_data() {
        let position = item.position();
        let text = format!("'[{position}].associated_data' provided for non-AEAD cipher suite {key_type}");
        return Ok(Err(Rejection::mistake(text)));
    }
    Ok(Ok(data))
}

fn encrypted(item: &Item<'_>, outcome: Result<(String, u32), Rejection>) -> Value {
    match outcome {
        Ok((ciphertext, version)) => {
            item.answer(object([("ciphertext", ciphertext.into()), ("key_version", version.into())]), None)
        }
        Err(error) => item.answer(Map::new(), Some(&error)),
    }
}
