//! Custody on a real store, seen from outside and from an attacker's side.

#![allow(clippy::unwrap_used, reason = "a test's helpers may fail as the test itself does")]

mod full_disk;
mod keyring;
mod master_key;
mod postgres;
mod records;
mod samples;
mod tampering;

use std::path::Path;

use mainstay_custody::{Custody, MasterKey, SecretPath};
use mainstay_storage::Location;
use secrecy::{ExposeSecret, SecretString};

/// A master key that tests can have twice.
fn key(seed: u8) -> MasterKey {
    MasterKey::from_bytes([seed; 32])
}

fn path(text: &str) -> SecretPath {
    text.parse().unwrap()
}

async fn in_memory() -> Custody {
    Custody::open(&Location::InMemory, key(1)).await.unwrap()
}

async fn on_disk(directory: &Path) -> Custody {
    Custody::open(&Location::Directory(directory.into()), key(1)).await.unwrap()
}

async fn put(custody: &Custody, at: &str, secret: &str) {
    custody.put(&path(at), &SecretString::from(secret)).await.unwrap();
}

async fn get(custody: &Custody, at: &str) -> Option<String> {
    custody.get(&path(at)).await.unwrap().map(|secret| secret.expose_secret().to_owned())
}
