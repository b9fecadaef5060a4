//! Custody on a real store, seen from outside and from an attacker's side.

#![allow(clippy::unwrap_used, reason = "a test's helpers may fail as the test itself does")]

mod barrier;
mod crash;
mod full_disk;
mod keyring;
mod master_key;
mod memory;
mod nonces;
mod operators;
mod postgres;
mod records;
mod samples;
mod snapshots;
mod tampering;

use std::path::Path;

use mainstay_custody::{Barrier, Change, Custody, Expect, MasterKey, SecretPath};
use mainstay_storage::Location;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

/// As in the product's binary, which the search of the memory is about.
#[global_allocator]
static ALLOCATOR: mainstay_custody::ZeroizeOnFree = mainstay_custody::ZEROIZE_ON_FREE;

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

fn entry(at: &str, value: &[u8]) -> Change {
    Change { path: at.to_owned(), expect: Expect::Anything, value: Some(Zeroizing::new(value.to_vec())) }
}

async fn put_entry(barrier: &Barrier, at: &str, value: &[u8]) {
    barrier.commit(vec![entry(at, value)]).await.unwrap();
}

async fn delete_entry(barrier: &Barrier, at: &str) {
    barrier.commit(vec![Change { value: None, ..entry(at, b"") }]).await.unwrap();
}
