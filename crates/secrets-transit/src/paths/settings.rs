//! `cache-config` and `config/keys`: settings of the mount.

use mainstay_secrets_engine::{Answer, Operation, Refusal, Request, Storage};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::engine::Transit;

const CACHE: &str = "config/cache";
const KEYS: &str = "config/keys";

/// The fewest keys that a cache may be configured for: below, it would only cost.
const SMALLEST_CACHE: u64 = 10;

/// The most keys that a cache may be configured for: some gigabytes.
const LARGEST_CACHE: u64 = 1_000_000;

#[derive(Serialize, Deserialize)]
struct CacheSettings {
    size: u64,
}

#[derive(Serialize, Deserialize)]
struct KeySettings {
    disable_upsert: bool,
}

/// How many keys are to be kept in memory; 0 where nobody said.
pub async fn cached_keys(storage: &Storage) -> Result<usize, Refusal> {
    let settings: Option<CacheSettings> = storage.value(CACHE).await?;
    Ok(settings.map_or(0, |settings| settings.size.min(LARGEST_CACHE) as usize))
}

/// Whether encrypting must not make keys.
pub async fn upsert_is_disabled(storage: &Storage) -> Result<bool, Refusal> {
    let settings: Option<KeySettings> = storage.value(KEYS).await?;
    Ok(settings.is_some_and(|settings| settings.disable_upsert))
}

pub async fn cache(transit: &Transit, request: &Request) -> Result<Answer, Refusal> {
    match request.operation {
        Operation::Read => Ok(Answer::data(json!({ "size": cached_keys(&transit.storage).await? }))),
        Operation::Create | Operation::Update => {
            let size = request.fields().count("size")?.unwrap_or(0);
            if size != 0 && size < SMALLEST_CACHE {
                let text = format!("size must be 0 or a value greater or equal to {SMALLEST_CACHE}");
                return Err(Refusal::invalid(text));
            }
            if size > LARGEST_CACHE {
                return Err(Refusal::invalid(format!("size must not be greater than {LARGEST_CACHE}")));
            }
            transit.storage.put(CACHE, &CacheSettings { size }).await?;
            transit.keys.resize(size as usize);
            Ok(Answer::data(json!({ "size": size })))
        }
        _ => Err(Refusal::UnsupportedOperation),
    }
}

pub async fn keys(transit: &Transit, request: &Request) -> Result<Answer, Refusal> {
    match request.operation {
        Operation::Read => Ok(Answer::data(json!({ "disable_upsert": upsert_is_disabled(&transit.storage).await? }))),
        Operation::Create | Operation::Update => {
            let disable_upsert = request.fields().boolean("disable_upsert")?.unwrap_or(false);
            transit.storage.put(KEYS, &KeySettings { disable_upsert }).await?;
            Ok(Answer::data(json!({ "disable_upsert": disable_upsert })))
        }
        _ => Err(Refusal::UnsupportedOperation),
    }
}
