//! What becomes of access keys and of objects when bindings and instances end.

use std::time::Duration;

use serde_json::json;

use super::Bound;
use super::request::fetch;
use crate::harness::{Layer, Options, until};

const PATIENCE: Duration = Duration::from_secs(30);

fn bind_for(layer: &Layer, instance: &str, ttl: &str) -> Bound {
    let path = format!("/api/v1/instances/{instance}/bindings?wait=60s");
    Bound::of(&layer.api().post(&path, &json!({ "consumer": "app", "ttl": ttl })).expect(201))
}

fn rotated(layer: &Layer, bound: &Bound, overlap: &str) -> Bound {
    let path = format!("/api/v1/bindings/{}/rotate?wait=60s", bound.binding);
    Bound::of(&layer.api().post(&path, &json!({ "overlap": overlap })).expect(200))
}

/// Waits until an access key is one no longer.
fn until_ended(bound: &Bound, key: &str) {
    until("the access key has ended", PATIENCE, || (bound.get(key).status != 200).then_some(()));
    bound.get(key).refused(403, "InvalidAccessKeyId");
    bound.put("after", b"").refused(403, "InvalidAccessKeyId");
    fetch(&bound.presigned(key)).refused(403, "InvalidAccessKeyId");
}

#[test]
fn an_access_key_ends_with_its_binding() {
    let layer = Layer::shared();
    let first = Bound::new(layer, "revoked", json!({}));
    let second = Bound::of(&layer.bind("revoked", "other"));
    first.put("x", b"kept").expect(200);
    let url = first.presigned("x");
    assert_eq!(fetch(&url).expect(200), b"kept");

    layer.api().delete(&format!("/api/v1/bindings/{}?wait=60s", first.binding));
    until_ended(&first, "x");
    fetch(&url).refused(403, "InvalidAccessKeyId");
    assert_eq!(second.get("x").expect(200), b"kept", "another consumer's goes on, and what was put stays");
    second.get("after").refused(404, "NoSuchKey");
}

#[test]
fn an_access_key_ends_with_its_lease() {
    let layer = Layer::shared();
    let lasting = Bound::new(layer, "expired", json!({}));
    lasting.put("x", b"kept").expect(200);
    let brief = bind_for(layer, "expired", "2s");
    assert_eq!(brief.get("x").expect(200), b"kept");
    until_ended(&brief, "x");
    assert_eq!(lasting.get("x").expect(200), b"kept");
}

#[test]
fn a_rotated_key_works_beside_the_new_one() {
    let layer = Layer::shared();
    let first = Bound::new(layer, "rotated", json!({}));
    first.put("x", b"kept").expect(200);
    let second = rotated(layer, &first, "1h");
    assert_ne!(first.access_key, second.access_key);
    for bound in [&first, &second] {
        assert_eq!(bound.get("x").expect(200), b"kept");
    }
    // Neither key signs with the other's secret.
    let mixed = Bound { secret_key: first.secret_key.clone(), ..second.clone() };
    mixed.get("x").refused(403, "SignatureDoesNotMatch");

    let third = rotated(layer, &second, "0s");
    until_ended(&second, "x");
    assert_eq!(third.get("x").expect(200), b"kept");
}

#[test]
fn everything_goes_with_its_instance() {
    let layer = Layer::start(Options::default());
    let bound = Bound::new(&layer, "gone", json!({ "buckets": "3", "versioning": "on" }));
    let further = format!("{}-further", bound.bucket);
    bound.call("PUT", &format!("/{further}"), &[], b"").expect(200);
    for (path, body) in [
        (format!("/{}/x", bound.bucket), "one"),
        (format!("/{}/x", bound.bucket), "two"),
        (format!("/{further}/y",), "three"),
    ] {
        bound.call("PUT", &path, &[], body.as_bytes()).expect(200);
    }
    bound.call("POST", &format!("/{}/parts?uploads=", bound.bucket), &[], b"").expect(200);
    let url = bound.presigned("x");

    let deleted = layer.api().delete("/api/v1/instances/gone?force=true&wait=60s").expect(200);
    assert_eq!(deleted["state"], "succeeded", "{deleted}");
    bound.get("x").refused(403, "InvalidAccessKeyId");
    fetch(&url).refused(403, "InvalidAccessKeyId");

    // The same name is another instance with another bucket, and nothing is in it; the other bucket's name is free.
    let again = Bound::new(&layer, "gone", json!({ "buckets": "3" }));
    assert_ne!(again.bucket, bound.bucket);
    again.get("x").refused(404, "NoSuchKey");
    again.call("GET", &format!("/{}/x", bound.bucket), &[], b"").refused(404, "NoSuchBucket");
    again.call("PUT", &format!("/{further}"), &[], b"").expect(200);
    again.call("GET", &format!("/{further}/y"), &[], b"").refused(404, "NoSuchKey");
}

#[test]
fn objects_and_access_keys_outlive_a_crash() {
    let mut layer = Layer::start(Options::default());
    let bound = Bound::new(&layer, "crashed", json!({}));
    let revoked = Bound::of(&layer.bind("crashed", "other"));
    bound.put("x", b"kept").expect(200);
    layer.api().delete(&format!("/api/v1/bindings/{}?wait=60s", revoked.binding));
    until_ended(&revoked, "x");
    layer.kill();
    layer.restart();
    until("the access key is known again", PATIENCE, || (bound.get("x").status == 200).then_some(()));
    assert_eq!(bound.get("x").expect(200), b"kept");
    revoked.get("x").refused(403, "InvalidAccessKeyId");
}
