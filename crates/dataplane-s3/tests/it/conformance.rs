//! The suite that every implementation passes, on a real Garage and on a store that honours conditional writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use mainstay_dataplane::Address;
use mainstay_dataplane::conformance::{Fixture, Place, Subject, run};
use mainstay_dataplane_s3::{OpenError, Patience, S3Config, S3Plane};
use opendal::Operator;

use crate::fake::Fake;
use crate::garage::Garage;

/// Places on one store, each below a prefix of its own.
struct OnStore {
    config: S3Config,
    places: AtomicU32,
}

struct Prefix(S3Config);

#[async_trait]
impl Fixture for OnStore {
    async fn place(&self) -> Box<dyn Place> {
        let number = self.places.fetch_add(1, Ordering::Relaxed);
        Box::new(Prefix(S3Config { prefix: format!("place-{number}"), ..self.config.clone() }))
    }
}

#[async_trait]
impl Place for Prefix {
    async fn open(&self) -> Subject {
        let plane = Arc::new(S3Plane::open(self.0.clone()).await.unwrap());
        Subject { plane: plane.clone(), inventory: plane }
    }

    async fn damage(&self, address: Address, byte: u64) {
        let raw = mainstay_dataplane_s3::operator(&self.0).unwrap();
        flip(&raw, &stored_in(&raw, address).await, byte).await;
    }
}

/// The objects that hold a content's bytes, in their order: its record, or its segments.
pub async fn stored_in(raw: &Operator, address: Address) -> Vec<String> {
    let record_key = format!("contents/{}", address.digest());
    let record = raw.read(&record_key).await.unwrap().to_vec();
    let segments = raw.list_with("data/").recursive(true).await.unwrap();
    let named = |key: &str| {
        let id = key.split('/').nth(1).unwrap();
        let id: Vec<u8> = (0..16).map(|at| u8::from_str_radix(&id[2 * at..2 * at + 2], 16).unwrap()).collect();
        record.windows(16).any(|window| window == id)
    };
    let keys = segments.iter().map(|entry| entry.path().to_owned());
    let mut keys: Vec<String> = keys.filter(|key| !key.ends_with("header") && named(key)).collect();
    keys.sort();
    if keys.is_empty() { vec![record_key] } else { keys }
}

/// Flips a bit of the objects together.
pub async fn flip(raw: &Operator, keys: &[String], byte: u64) {
    let mut objects = Vec::new();
    for key in keys {
        objects.push(raw.read(key).await.unwrap().to_vec());
    }
    let len: usize = objects.iter().map(Vec::len).sum();
    let mut at = byte as usize % len;
    for (key, mut object) in keys.iter().zip(objects) {
        if at < object.len() {
            object[at] ^= 1 << (at % 8);
            raw.write(key, object).await.unwrap();
            return;
        }
        at -= object.len();
    }
}

/// Garage takes conditions and ignores them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garage_conforms() {
    let Some(garage) = Garage::start().await else { return };
    assert!(!garage.open("").await.honours_conditions());
    run(&OnStore { config: garage.config(""), places: AtomicU32::new(0) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_honours_conditions_conforms() {
    let fake = Fake::start(true).await;
    assert!(fake.open().await.honours_conditions());
    let config = S3Config { patience: Patience::default(), ..fake.config() };
    run(&OnStore { config, places: AtomicU32::new(0) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garage_says_what_is_wrong_with_credentials() {
    let Some(garage) = Garage::start().await else { return };
    let right = garage.config("");
    let secret = "ff".repeat(32);
    for wrong in [
        S3Config { secret_access_key: secret.clone().into(), ..right.clone() },
        S3Config { access_key_id: "GKffffffffffffffffffffffff".into(), ..right.clone() },
        S3Config { bucket: "somebody-elses".into(), ..right.clone() },
    ] {
        let error = S3Plane::open(wrong).await.err().unwrap();
        assert!(matches!(error, OpenError::Denied { .. } | OpenError::NoBucket { .. }), "{error:?}");
        assert!(!format!("{error} {error:?}").contains(&secret), "{error:?}");
    }
}
