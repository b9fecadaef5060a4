//! `sign`, and `verify` with a signature.

use std::borrow::Cow;

use mainstay_secrets_engine::{Answer, Fields, Refusal};
use serde_json::{Map, Value};

use crate::engine::Task;
use crate::hashing::Hash;
use crate::key::Key;
use crate::key_type::Family;
use crate::paths::hmac;
use crate::paths::items::{Asked, Item, answer, object};
use crate::rejection::Rejection;
use crate::signing::{Marshaling, Padding, Salt, Signed, SigningOptions};
use crate::wire;

pub fn signing<'a>(name: &'a str, algorithm: Option<&'a str>) -> Task<'a> {
    Task { name, missing: "signing key not found", algorithm, private: true, work: sign }
}

pub fn verifying<'a>(name: &'a str, algorithm: Option<&'a str>) -> Task<'a> {
    Task { name, missing: "signature verification key not found", algorithm, private: false, work: verify }
}

/// The name of the hash algorithm that a request asks for, in the path or in one of two fields.
pub fn named_algorithm<'a>(data: &'a Map<String, Value>, path: Option<&'a str>) -> Result<Cow<'a, str>, Refusal> {
    if let Some(name) = path {
        return Ok(Cow::Borrowed(name));
    }
    for field in ["hash_algorithm", "algorithm"] {
        if let Some(name) = Fields::new(data).text(field)?.filter(|name| !name.is_empty()) {
            return Ok(Cow::Owned(name));
        }
    }
    Ok(Cow::Borrowed("sha2-256"))
}

/// The input of an item. Alone it may be missing, which is the empty input; in a batch it is a mistake.
pub fn input(item: &Item<'_>, missing: &'static str) -> Result<Result<Vec<u8>, Rejection>, Refusal> {
    Ok(match item.text("input")? {
        None => Err(Rejection::mistake(missing)),
        Some(input) => wire::decode(&input)
            .map_err(|error| Rejection::mistake(format!("unable to decode input as base64: {error}"))),
    })
}

fn sign(key: &Key, data: &Map<String, Value>, algorithm: Option<&str>) -> Result<Answer, Refusal> {
    let options = options(key, data, algorithm, "signing")?;
    let version = Fields::new(data).integer("key_version")?.unwrap_or(0);
    match Asked::parse(data)? {
        Asked::One(item) => {
            let input = if item.text("input")?.is_some() { input(&item, "missing input")?? } else { Vec::new() };
            let signed = key.sign(version, &context(&item)??, &input, &options)?;
            Ok(Answer { data: Some(shown(signed, "public_key")), ..Answer::default() })
        }
        Asked::Batch(items) => {
            let results = items.iter().map(|item| {
                let (input, context) = (input(item, "missing input")?, context(item)?);
                let outcome = input.and_then(|input| key.sign(version, &context?, &input, &options));
                Ok(match outcome {
                    Ok(signed) => item.answer(shown(signed, "publickey"), None),
                    Err(error) => item.answer(object([("key_version", 0.into())]), Some(&error)),
                })
            });
            Ok(answer([("batch_results", results.collect::<Result<Vec<_>, Refusal>>()?.into())]))
        }
    }
}

fn verify(key: &Key, data: &Map<String, Value>, algorithm: Option<&str>) -> Result<Answer, Refusal> {
    let asked = Asked::parse(data)?;
    if given(&asked)? == Given::Hmac {
        return hmac::verify(key, data, algorithm);
    }
    let options = options(key, data, algorithm, "verification")?;
    match asked {
        Asked::One(item) => Ok(answer([("valid", verify_item(key, &item, &options, true)??.into())])),
        Asked::Batch(items) => {
            let results = items.iter().map(|item| {
                let outcome = verify_item(key, item, &options, false)?;
                let valid = *outcome.as_ref().unwrap_or(&false);
                Ok(item.answer(object([("valid", valid.into())]), outcome.as_ref().err()))
            });
            Ok(answer([("batch_results", results.collect::<Result<Vec<_>, Refusal>>()?.into())]))
        }
    }
}

fn verify_item(
    key: &Key,
    item: &Item<'_>,
    options: &SigningOptions,
    alone: bool,
) -> Result<Result<bool, Rejection>, Refusal> {
    let input = match item.text("input")? {
        None if alone => Ok(Vec::new()),
        _ => input(item, "missing input")?,
    };
    let (signature, context) = (item.text("signature")?.unwrap_or_default(), context(item)?);
    Ok(input.and_then(|input| key.verify(&context?, &input, &signature, options)))
}

/// What is to be checked.
#[derive(PartialEq, Eq)]
enum Given {
    Signature,
    Hmac,
}

/// What `verify` was given. A batch is all of one kind.
fn given(asked: &Asked<'_>) -> Result<Given, Refusal> {
    let refused = |text: &str| Err(Refusal::invalid(text));
    let (mut signatures, mut hmacs, mut neither) = (false, false, false);
    for item in asked.items() {
        match (item.text("signature")?, item.text("hmac")?) {
            (Some(_), Some(_)) if matches!(asked, Asked::One(_)) => {
                return refused("provide one of 'signature' or 'hmac'");
            }
            (Some(_), _) => signatures = true,
            (None, Some(_)) => hmacs = true,
            (None, None) => neither = true,
        }
    }
    match (signatures, hmacs, neither) {
        (true, false, false) => Ok(Given::Signature),
        (false, true, false) => Ok(Given::Hmac),
        (false, false, _) if matches!(asked, Asked::One(_)) => {
            refused("neither a 'signature' nor an 'hmac' were given to verify")
        }
        (true, true, _) => refused("elements of batch_input must all provide 'signature' or all provide 'hmac'"),
        (true, false, true) => refused("some elements of batch_input are missing 'signature'"),
        (false, true, true) => refused("some elements of batch_input are missing 'hmac'"),
        (false, false, _) => refused("no batch_input elements have 'signature' or 'hmac'"),
    }
}

fn context(item: &Item<'_>) -> Result<Result<Vec<u8>, Rejection>, Refusal> {
    let context = item.bytes("context")?;
    Ok(context.map_err(|_| Rejection::mistake("failed to base64-decode context")))
}

fn shown(signed: Signed, public_key: &str) -> Map<String, Value> {
    let mut shown = object([("signature", signed.signature.into()), ("key_version", signed.version.into())]);
    if let Some(bytes) = signed.public_key {
        shown.insert(public_key.to_owned(), wire::encode(&bytes).into());
    }
    shown
}

fn options(
    key: &Key,
    data: &Map<String, Value>,
    algorithm: Option<&str>,
    purpose: &str,
) -> Result<SigningOptions, Refusal> {
    let fields = Fields::new(data);
    let name = named_algorithm(data, algorithm)?;
    let hash = match (&*name, Hash::named(&name)) {
        ("none", _) => None,
        (_, Some(hash)) => Some(hash),
        (_, None) => return Err(Refusal::invalid(format!("invalid hash algorithm {name:?}"))),
    };
    let marshaling = match fields.text("marshaling_algorithm")?.as_deref() {
        None | Some("asn1") => Marshaling::Asn1,
        Some("jws") => Marshaling::Jws,
        Some(name) => return Err(Refusal::invalid(format!("invalid marshaling type {name:?}"))),
    };
    let salt = salt(fields.text("salt_length")?.as_deref().unwrap_or("auto"))?;
    let key_type = key.settings.key_type;
    if !key_type.signs() {
        return Err(Refusal::invalid(format!("key type {key_type} does not support {purpose}")));
    }
    let prehashed = fields.boolean("prehashed")?.unwrap_or(false);
    let padding = match fields.text("signature_algorithm")?.as_deref() {
        None | Some("" | "pss") => Padding::Pss,
        Some("pkcs1v15") => Padding::Pkcs1,
        // Other keys have no use for the field, and take no notice of it.
        Some(name) if matches!(key_type.family(), Family::Rsa(_)) => {
            return Err(Refusal::invalid(format!("unsupported rsa signature algorithm {name}")));
        }
        Some(_) => Padding::Pss,
    };
    if hash.is_none() && !(prehashed && padding == Padding::Pkcs1) {
        let text = "hash_algorithm=none requires both prehashed=true and signature_algorithm=pkcs1v15";
        return Err(Refusal::invalid(text));
    }
    Ok(SigningOptions { hash, prehashed, padding, salt, marshaling })
}

/// The length of a salt. Vault hands numbers on to Go, to which 0 means "any" and -1 "as long as the hash".
fn salt(text: &str) -> Result<Salt, Refusal> {
    let lower = text.to_ascii_lowercase();
    match (lower.as_str(), lower.parse::<i64>()) {
        ("auto", _) | (_, Ok(0)) => Ok(Salt::Auto),
        ("hash", _) | (_, Ok(-1)) => Ok(Salt::Hash),
        (_, Ok(length)) if length < -1 => Err(Refusal::invalid(format!("salt length is invalid: {length}"))),
        (_, Ok(length)) => {
            let length = u16::try_from(length);
            let length = length.map_err(|_| Refusal::invalid(format!("requested salt length {text} is invalid")))?;
            Ok(Salt::Length(length))
        }
        (_, Err(_)) => Err(Refusal::invalid(format!("salt length neither 'auto', 'hash', nor an int: {text}"))),
    }
}
