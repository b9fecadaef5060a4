//! Object storage from outside: stock S3 clients, attacks of one tenant on another, access keys that end, a sealed layer,
//! and crashes, full disks and stores that fail beneath it.

mod bindings;
mod boto3;
mod churn;
mod clients;
mod daemon;
mod encrypted;
mod endless;
mod full_disk;
mod garage;
mod killed;
mod out_of_reach;
mod request;
mod sealed;
mod stock;

use serde_json::Value;

pub use self::stock::{absent, python};
use crate::harness::Layer;

/// What a binding of `s3/v1` gives an application.
#[derive(Clone)]
struct Bound {
    binding: String,
    bucket: String,
    endpoint: String,
    region: String,
    access_key: String,
    secret_key: String,
}

impl Bound {
    /// Reads the answer that made or rotated a binding.
    fn of(answer: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
        let credentials = &answer["credentials"];
        Self {
            binding: text(&answer["id"]),
            bucket: text(&credentials["bucket"]),
            endpoint: text(&credentials["endpoint"]),
            region: text(&credentials["region"]),
            access_key: text(&credentials["access-key-id"]),
            secret_key: text(&credentials["secret-access-key"]),
        }
    }

    /// Makes an instance and binds it.
    fn new(layer: &Layer, instance: &str, parameters: Value) -> Self {
        layer.create_bucket(instance, parameters);
        Self::of(&layer.bind(instance, "app"))
    }
}
