//! What instances are provided with, and what their consumers are given.

use std::collections::BTreeMap;
use std::slice::from_ref;

use mainstay_bucket::Versioning;
use mainstay_engine::{CredentialSpec, Engine, InstanceSpec};
use mainstay_objects::{Limits, NewBucket};
use mainstay_types::{BindingId, InstanceId, Parameters, Presence, Timestamp};
use secrecy::ExposeSecret;

use crate::place::{Place, cluster};

fn instance(number: u64, name: &str, parameters: &[(&str, &str)]) -> InstanceSpec {
    let parameters = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    InstanceSpec { id: InstanceId::from_random(number), name: name.parse().unwrap(), parameters: parameters.collect() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_made_as_its_parameters_say_and_then_is_its_owners() {
    let (place, spec) = (Place::new(), cluster());
    let engine = place.engine().await;
    engine.start(&spec).await.unwrap();
    let parameters = [("buckets", "2"), ("max_bytes", "1000"), ("versioning", "on"), ("access", "public-read")];
    let photos = instance(33, "photos", &parameters);
    engine.provision(&spec, &photos).await.unwrap();

    let objects = place.open().objects;
    let limits = Limits { buckets: 2, bytes: Some(1000), objects: None };
    assert_eq!(objects.account(&photos.id).unwrap().limits, limits);
    let name = "photos-110000000000".parse().unwrap();
    let bucket = objects.bucket(&name).unwrap();
    assert_eq!((bucket.settings.versioning, &bucket.account), (Versioning::Enabled, &photos.id));
    assert!(bucket.settings.policy.as_ref().is_some_and(|policy| policy.is_public()));

    // What its owner changes stays, however often it is provisioned.
    let close = |settings: &mut mainstay_bucket::Settings| {
        settings.policy = None;
        Ok(())
    };
    objects.change_settings(&name, Box::new(close)).await.unwrap();
    engine.provision(&spec, &photos).await.unwrap();
    assert!(objects.bucket(&name).unwrap().settings.policy.is_none());

    // Limits that were lost are seen and brought back; so is a bucket.
    let presence = async || engine.observe(&spec, from_ref(&photos), &[]).await.unwrap().instances[&photos.id].clone();
    assert_eq!(presence().await, Presence::Present);
    objects.put_account(&photos.id, Limits::default()).await.unwrap();
    assert!(matches!(presence().await, Presence::Drifted { .. }));
    engine.provision(&spec, &photos).await.unwrap();
    assert_eq!(presence().await, Presence::Present);
    objects.delete_bucket(&name).await.unwrap();
    assert!(matches!(presence().await, Presence::Drifted { .. }));
    engine.provision(&spec, &photos).await.unwrap();
    assert_eq!(presence().await, Presence::Present);

    // A second bucket of its own goes with it.
    let second = NewBucket {
        name: "photos-archive".parse().unwrap(),
        account: photos.id.clone(),
        settings: mainstay_bucket::Settings::default(),
    };
    objects.create_bucket(second).await.unwrap();
    let figures: BTreeMap<_, _> = engine.figures(&spec).await.unwrap().into_iter().collect();
    assert_eq!((figures["mainstay.objectstore.instances"], figures["mainstay.objectstore.buckets"]), (1.0, 2.0));
    engine.deprovision(&spec, &photos).await.unwrap();
    assert_eq!((presence().await, objects.buckets(&photos.id).len()), (Presence::Missing, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_tells_all_that_a_client_needs() {
    let place = Place::new();
    let engine = place.engine().await;
    let photos = instance(33, "photos", &[]);
    let credential = CredentialSpec {
        binding: BindingId::from_random(33),
        generation: 2,
        login: 2,
        instance: photos.id.clone(),
        valid_until: Timestamp::EPOCH,
        statements: None,
    };
    let delivery = engine.delivery(&cluster(), &photos, &credential, &"geheim".into());
    let told: BTreeMap<_, _> = delivery.iter().map(|(key, value)| (*key, value.expose_secret())).collect();
    let expected = BTreeMap::from([
        ("type", "s3"),
        ("provider", "mainstay"),
        ("host", "127.0.0.1"),
        ("port", "7401"),
        ("endpoint", "http://127.0.0.1:7401"),
        ("region", "mainstay"),
        ("bucket", "photos-110000000000"),
        ("access-key-id", "b_110000000000_2"),
        ("secret-access-key", "geheim"),
        ("username", "b_110000000000_2"),
        ("password", "geheim"),
        ("uri", "s3://photos-110000000000"),
    ]);
    assert_eq!(told, expected);
    assert_eq!(photos.parameters, Parameters::default());
}
