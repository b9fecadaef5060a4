//! The suite that every implementation passes, on a real Garage.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use mainstay_dataplane::Address;
use mainstay_dataplane::conformance::{Fixture, Place, Subject, run};
use opendal::Operator;

use crate::garage::Garage;

struct OnGarage {
    garage: Arc<Garage>,
    places: AtomicU32,
}

/// A prefix of its own.
struct Prefix {
    garage: Arc<Garage>,
    prefix: String,
}

#[async_trait]
impl Fixture for OnGarage {
    async fn place(&self) -> Box<dyn Place> {
        let number = self.places.fetch_add(1, Ordering::Relaxed);
        Box::new(Prefix { garage: Arc::clone(&self.garage), prefix: format!("place-{number}") })
    }
}

#[async_trait]
impl Place for Prefix {
    async fn open(&self) -> Subject {
        let plane = Arc::new(self.garage.open(&self.prefix).await);
        Subject { plane: plane.clone(), inventory: plane }
    }

    async fn damage(&self, address: Address, byte: u64) {
        let raw = self.garage.raw(&self.prefix);
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garage_conforms() {
    let Some(garage) = Garage::start().await else { return };
    run(&OnGarage { garage: Arc::new(garage), places: AtomicU32::new(0) }).await;
}
