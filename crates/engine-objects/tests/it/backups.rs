//! What a backup brings back of buckets, beyond what the suite asks of every engine.

use std::collections::BTreeMap;
use std::slice::from_ref;

use futures::TryStreamExt;
use mainstay_bucket::{Conditions, LegalHold};
use mainstay_dataplane::Address;
use mainstay_engine::conformance::recovery::MemoryArchive;
use mainstay_engine::recovery::{Assertion, Recovery, Until};
use mainstay_engine::{Engine, EngineError, InstanceSpec};
use mainstay_objects::{
    Complete, CompletePart, NewBucket, NewUpload, Objects, PutPart, UploadAttributes, UploadRef, VersionEntry,
    VersionsQuery,
};
use mainstay_types::{InstanceId, Parameters};

use crate::client;
use crate::place::{Place, cluster};

const PROVIDED: &str = "photos-110000000000";
const SECOND: &str = "photos-locked";

fn instance(number: u64) -> InstanceSpec {
    let parameters = [("buckets", "2"), ("versioning", "on")];
    let parameters: Parameters =
        parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect();
    InstanceSpec { id: InstanceId::from_random(number), name: "photos".parse().unwrap(), parameters }
}

async fn fill(objects: &Objects, account: &InstanceId) {
    client::put(objects, PROVIDED, "twice", b"one").await;
    client::put(objects, PROVIDED, "twice", b"two").await;
    client::put(objects, PROVIDED, "deleted", b"gone").await;
    client::delete(objects, PROVIDED, "deleted").await;
    client::put(objects, PROVIDED, "empty", b"").await;
    client::put(objects, PROVIDED, " ünusual/../name\u{1}%2F\\", b"named").await;
    client::put(objects, PROVIDED, "large", &vec![7; 3 << 20]).await;
    let secret = client::ingest(objects, PROVIDED, b"encrypted at rest", true).await;
    let attributes = client::attributes(&secret);
    client::put_content(objects, PROVIDED, "secret", secret, attributes).await;
    in_parts(objects).await;

    let lock = Some(mainstay_bucket::ObjectLock::default());
    let settings = mainstay_bucket::Settings { lock, ..mainstay_bucket::Settings::default() };
    let second = NewBucket { name: SECOND.parse().unwrap(), account: account.clone(), settings };
    objects.create_bucket(second).await.unwrap();
    let held = client::ingest(objects, SECOND, b"held", false).await;
    let mut attributes = client::attributes(&held);
    attributes.legal_hold = LegalHold::On;
    client::put_content(objects, SECOND, "held", held, attributes).await;
}

async fn in_parts(objects: &Objects) {
    let bucket: mainstay_bucket::BucketName = PROVIDED.parse().unwrap();
    let key: mainstay_bucket::ObjectKey = "parts".parse().unwrap();
    let attributes = UploadAttributes {
        metadata: Default::default(),
        tags: Default::default(),
        retention: None,
        legal_hold: LegalHold::Off,
        encrypted: false,
        checksum: None,
    };
    let new = NewUpload { bucket: bucket.clone(), key: key.clone(), attributes };
    let upload = objects.create_upload(new).await.unwrap();
    let upload = UploadRef { bucket, key, id: upload.id };
    let mut parts = Vec::new();
    for number in 1..=2_u32 {
        let bytes = vec![number as u8; 5 << 20];
        let content = client::ingest(objects, PROVIDED, &bytes, false).await;
        let etag = client::attributes(&content).etag;
        let part = PutPart { upload: upload.clone(), number, content, etag, checksum: None };
        let part = objects.put_part(part).await.unwrap();
        parts.push(CompletePart { number, etag: part.etag });
    }
    objects.complete(Complete { upload, parts, checksum: None, conditions: Conditions::default() }).await.unwrap();
}

/// All versions with all that is said of them, and their bytes.
async fn everything(objects: &Objects, account: &InstanceId) -> BTreeMap<String, Vec<(String, Vec<u8>)>> {
    let mut everything = BTreeMap::new();
    for (number, bucket) in objects.buckets(account).into_iter().enumerate() {
        let mut versions = Vec::new();
        let query = VersionsQuery { limit: 1_000, ..VersionsQuery::default() };
        for listed in objects.list_versions(&bucket.name, query).await.unwrap().entries {
            let (told, bytes) = match &listed.entry {
                VersionEntry::Version(version) => {
                    // Where the bytes lie may have changed, and nothing else.
                    let (id, at, attributes) = (version.id, version.modified_at, &version.attributes);
                    let manifest = objects.manifest(version).await.unwrap().map(|manifest| manifest.parts.clone());
                    (format!("{id:?} {at} {attributes:?} {manifest:?}"), client::read(objects, version).await)
                }
                marker @ VersionEntry::Marker { .. } => (format!("{marker:?}"), Vec::new()),
            };
            versions.push((format!("{} {} {told}", listed.key, listed.latest), bytes));
        }
        everything.insert(format!("{number} {:?} {:?}", bucket.settings, objects.usage(&bucket.name)), versions);
    }
    everything
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_come_back_with_all_that_was_said_of_them() {
    let (place, spec, photos) = (Place::new(), cluster(), instance(33));
    let engine = place.engine().await;
    engine.start(&spec).await.unwrap();
    engine.provision(&spec, &photos).await.unwrap();
    let objects = place.open().objects;
    fill(&objects, &photos.id).await;
    let wanted = everything(&objects, &photos.id).await;
    let kept = MemoryArchive::default();
    let archive = kept.archive();
    let backup = engine.back_up(&spec, from_ref(&photos), &archive).await.unwrap();
    let (contents, _) = kept.kept();
    let referred: Vec<Address> = engine.contents(&backup, &archive).await.unwrap().try_collect().await.unwrap();
    assert_eq!(referred.len(), 10, "each version's, with the parts of one");

    // Done again, it brings nothing but an index, which is the same one.
    let again = engine.back_up(&spec, from_ref(&photos), &archive).await.unwrap();
    assert_eq!((kept.kept().0, &again.parts), (contents, &backup.parts));

    let assertion = |query: &str, expect: &str| Assertion { query: query.to_owned(), expect: expect.to_owned() };
    let assertions = [
        assertion("text twice", "two"),
        assertion("size large", "3145728"),
        assertion("etag twice", "b8a9f715dbb64fd5c56e7783c6820a61"),
        assertion("text s3://photos-locked/held", "held"),
    ];
    let rehearsal = engine.rehearse(&spec, &photos, &backup, &assertions, &archive).await.unwrap();
    assert!(rehearsal.is_passed(), "{rehearsal:?}");
    let wrong = [assertion("text deleted", "gone"), assertion("text nothing", ""), assertion("drop twice", "")];
    let rehearsal = engine.rehearse(&spec, &photos, &backup, &wrong, &archive).await.unwrap();
    assert_eq!(rehearsal.checks.iter().filter(|check| check.failure.is_some()).count(), 3, "{rehearsal:?}");

    // In place, over what was changed since.
    client::put(&objects, PROVIDED, "twice", b"three").await;
    client::delete(&objects, PROVIDED, "large").await;
    engine.restore_instance(&spec, &photos, &photos.id, &backup, Until::Latest, &archive).await.unwrap();
    assert_eq!(everything(&objects, &photos.id).await, wanted);
    // What is new is newer than what came back.
    client::put(&objects, PROVIDED, "twice", b"four").await;
    let head = objects.head(&PROVIDED.parse().unwrap(), &"twice".parse().unwrap(), None).await.unwrap();
    assert_eq!(client::read(&objects, &head).await, b"four");

    // In another instance beside it, whose bucket has another name.
    let other = instance(1);
    engine.provision(&spec, &other).await.unwrap();
    engine.restore_instance(&spec, &other, &photos.id, &backup, Until::Latest, &archive).await.unwrap();
    assert_eq!(everything(&objects, &other.id).await, wanted);
    let names: Vec<_> = objects.buckets(&other.id).iter().map(|bucket| bucket.name.to_string()).collect();
    assert_eq!(names, ["photos-100000000000", "photos-locked-100000000000"]);

    // In a store where nothing of it is: what is lost is made anew.
    let elsewhere = Place::new();
    let engine = elsewhere.engine().await;
    engine.start(&spec).await.unwrap();
    engine.provision(&spec, &photos).await.unwrap();
    engine.restore_instance(&spec, &photos, &photos.id, &backup, Until::Latest, &archive).await.unwrap();
    let objects = elsewhere.open().objects;
    assert_eq!(everything(&objects, &photos.id).await, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_content_is_named_and_an_empty_bucket_is_no_failure() {
    let (place, spec, photos) = (Place::new(), cluster(), instance(33));
    let engine = place.engine().await;
    engine.start(&spec).await.unwrap();
    engine.provision(&spec, &photos).await.unwrap();
    let objects = place.open().objects;
    let kept = MemoryArchive::default();
    let archive = kept.archive();
    let empty = engine.back_up(&spec, from_ref(&photos), &archive).await.unwrap();
    assert!(engine.rehearse(&spec, &photos, &empty, &[], &archive).await.unwrap().is_passed());

    client::put(&objects, PROVIDED, "key", b"content").await;
    let backup = engine.back_up(&spec, from_ref(&photos), &archive).await.unwrap();
    let address = Address::of(b"content");
    kept.flip_bit(&address);
    let rehearsal = engine.rehearse(&spec, &photos, &backup, &[], &archive).await.unwrap();
    let failures: Vec<_> = rehearsal.checks.iter().filter_map(|check| check.failure.as_deref()).collect();
    assert!(failures.len() == 1 && failures[0].contains(&address.to_string()), "{rehearsal:?}");
    // It is not needed where it is whole here, and where it is needed it is missed.
    engine.restore_instance(&spec, &photos, &photos.id, &backup, Until::Backup, &archive).await.unwrap();
    let elsewhere = Place::new();
    let other = elsewhere.engine().await;
    other.start(&spec).await.unwrap();
    other.provision(&spec, &photos).await.unwrap();
    let error = other.restore_instance(&spec, &photos, &photos.id, &backup, Until::Backup, &archive).await.unwrap_err();
    assert!(
        matches!(&error, EngineError::Permanent { reason, .. } if reason.contains(&address.to_string())),
        "{error}"
    );

    engine.restore_instance(&spec, &photos, &photos.id, &empty, Until::Backup, &archive).await.unwrap();
    assert_eq!(objects.usage(&PROVIDED.parse().unwrap()).unwrap().objects, 0);
}
