//! An index of every released schema version is read by this one.

use std::fs;
use std::path::{Path, PathBuf};

use mainstay_bucket::notification::{EventKind, EventPattern, Notification, Notifications, TargetKind};
use mainstay_bucket::{BucketName, Settings, Versioning};
use mainstay_objects::{AccessKey, UploadsQuery, VersionsQuery};
use mainstay_types::Timestamp;
use secrecy::{ExposeSecret, SecretString};

use crate::harness::{Fixture, Place, account};
use crate::uploads::{begin, complete, part};

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/samples")
}

#[tokio::test]
async fn version_1_is_read() {
    let place = Place::in_files();
    fs::copy(samples().join("v1.sqlite"), place.file()).unwrap();
    let fixture = Fixture::new(place).await;
    let bucket: BucketName = "sample".parse().unwrap();
    assert_eq!(fixture.objects.buckets(&account())[0].name, bucket);
    let key = "a/b".parse().unwrap();
    let newest = fixture.objects.head(&bucket, &key, None).await.unwrap();
    assert_eq!(newest.size, 3);
    let listed =
        fixture.objects.list_versions(&bucket, VersionsQuery { limit: 10, ..Default::default() }).await.unwrap();
    let told: Vec<_> = listed.entries.iter().map(|listed| (listed.key.as_str(), listed.latest)).collect();
    assert_eq!(told, [("a/b", true), ("a/b", false), ("film", true), ("hidden", true), ("hidden", false)]);
    let film = fixture.objects.head(&bucket, &"film".parse().unwrap(), None).await.unwrap();
    assert_eq!(fixture.objects.manifest(&film).await.unwrap().unwrap().parts.len(), 1);
    let uploads = fixture.objects.uploads(&bucket, UploadsQuery { limit: 10, ..Default::default() }).await.unwrap();
    assert_eq!(uploads.uploads[0].key.as_str(), "coming");
    let known = fixture.objects.access_key("sample-key").await.unwrap().unwrap();
    assert_eq!(known.secret.expose_secret(), "sample secret");
    fixture.objects.keep(Timestamp::EPOCH).await.unwrap();
    assert_eq!(fixture.feed.told.lock().unwrap().len(), 4);
}

/// How the sample of the newest version is made, once, before that version is released.
#[tokio::test]
#[ignore = "writes the sample"]
async fn write_the_sample() {
    let place = Place::in_files();
    let fixture = Fixture::new(place.clone()).await;
    let wish = Notification {
        id: "all".to_owned(),
        kind: TargetKind::Queue,
        events: vec![EventPattern::GroupOf(EventKind::Put)],
        prefix: None,
        suffix: None,
    };
    let notifications = Some(Notifications::new(vec![wish]).unwrap());
    let settings = Settings { versioning: Versioning::Enabled, notifications, ..Settings::default() };
    let bucket = fixture.bucket_with("sample", settings).await;
    fixture.put(&bucket, "a/b", b"one").await;
    fixture.put(&bucket, "a/b", b"two").await;
    fixture.put(&bucket, "hidden", b"one").await;
    fixture.delete(&bucket, "hidden", None).await;
    let upload = begin(&fixture, &bucket, "film").await;
    part(&fixture, &upload, 1, b"film").await.unwrap();
    fixture.objects.complete(complete(&upload, &[(1, b"film")])).await.unwrap();
    let upload = begin(&fixture, &bucket, "coming").await;
    part(&fixture, &upload, 1, b"part").await.unwrap();
    let key = AccessKey { id: "sample-key".parse().unwrap(), account: account(), valid_until: None };
    fixture.objects.put_access_key(key, &SecretString::from("sample secret")).await.unwrap();
    fixture.objects.close().await;
    fs::copy(place.file(), samples().join("v1.sqlite")).unwrap();
}
