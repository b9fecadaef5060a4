//! What a backup says of itself beside its bytes.

use std::collections::BTreeMap;

use mainstay_engine::EngineError;
use mainstay_engine::recovery::Backup;
use mainstay_types::{InstanceId, Plan};

use super::rdb::Census;
use crate::data::Record;
use crate::rights;

/// The part that the data is.
pub(super) const DATA: &str = "rdb";
/// Which cluster's data it is.
const RECORD: &str = "record";
/// The users of bindings and instances, as the server's own file has them, with the hashes of their passwords.
const USERS: &str = "users";
/// Keys in all databases.
const KEYS: &str = "keys";
/// Keys of one database, or with one prefix: `keys.db0`, `keys.prefix.1a2b3c`.
const OF_DATABASE: &str = "keys.db";
const OF_PREFIX: &str = "keys.prefix.";
/// Bytes of memory that its server took for it.
const MEMORY: &str = "memory";

/// The notes of a backup that is being made.
pub(super) fn written(
    record: &Record,
    users: Vec<String>,
    memory: u64,
    census: Option<&Census>,
    prefixes: &[String],
) -> Result<BTreeMap<String, String>, EngineError> {
    let record = serde_json::to_string(record)
        .map_err(|error| EngineError::transient_from("the backup's notes could not be written", error))?;
    let mut notes = BTreeMap::from([
        (RECORD.to_owned(), record),
        (USERS.to_owned(), users.join("\n")),
        (MEMORY.to_owned(), memory.to_string()),
    ]);
    if let Some(census) = census {
        notes.insert(KEYS.to_owned(), census.keys().to_string());
        notes
            .extend(census.databases.iter().map(|(number, keys)| (format!("{OF_DATABASE}{number}"), keys.to_string())));
        let count = |prefix: &String| census.prefixes.get(prefix).copied().unwrap_or(0).to_string();
        notes.extend(prefixes.iter().map(|prefix| (format!("{OF_PREFIX}{prefix}"), count(prefix))));
    }
    Ok(notes)
}

/// Which cluster's data it is.
pub(super) fn record(backup: &Backup) -> Result<Record, EngineError> {
    serde_json::from_str(backup.note(RECORD)?).map_err(|error| {
        EngineError::permanent(format!("the backup does not say whose data it is: {error}"), "restore another backup")
    })
}

/// The lines of the users' file.
pub(super) fn users(backup: &Backup) -> &str {
    backup.notes.get(USERS).map_or("", String::as_str)
}

pub(super) fn memory(backup: &Backup) -> Option<u64> {
    backup.notes.get(MEMORY)?.parse().ok()
}

/// Keys in all databases; none where they could not be counted.
pub(super) fn keys(backup: &Backup) -> Option<u64> {
    backup.notes.get(KEYS)?.parse().ok()
}

/// Keys of an instance; none where they were not counted.
pub(super) fn keys_of(backup: &Backup, plan: Plan, instance: &InstanceId) -> Option<u64> {
    match plan {
        Plan::Dedicated => keys(backup),
        Plan::Shared => {
            let prefix = rights::prefix(plan, instance);
            backup.notes.get(&format!("{OF_PREFIX}{}", prefix.trim_end_matches(':')))?.parse().ok()
        }
    }
}
