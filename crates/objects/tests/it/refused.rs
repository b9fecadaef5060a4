//! Content that came in and was refused afterwards, and content that need not come in.

use std::time::Duration;

use mainstay_bucket::conditions::EntityTags;
use mainstay_bucket::{BucketName, Conditions, ObjectKey, Versioning};
use mainstay_dataplane::Address;
use mainstay_objects::{CreatedBy, Error, Limits, Put, Refusal, Target};
use mainstay_types::Timestamp;

use crate::harness::{Fixture, account, attributes, ingest, put};
use crate::on_both;
use crate::uploads::{begin, part};

/// The same fixture, where unused content is kept for an hour.
async fn with_grace(fixture: Fixture) -> Fixture {
    let (plane, keys) = (fixture.plane.clone(), fixture.keys.clone());
    fixture.objects.close().await;
    Fixture::with(fixture.place, plane, keys, Duration::from_secs(3600)).await
}

/// Puts bytes where there is something already, which is refused.
async fn put_refused(fixture: &Fixture, bucket: &BucketName, key: &str, bytes: &[u8]) {
    let anew = Conditions { if_none_match: Some(EntityTags::Any), ..Conditions::default() };
    let refused = put(&fixture.objects, bucket, key, bytes, anew).await;
    assert!(matches!(refused, Err(Error::Refused(Refusal::PreconditionFailed))), "{refused:?}");
}

async fn limit(fixture: &Fixture, bytes: Option<u64>, objects: Option<u64>) {
    fixture.objects.put_account(&account(), Limits { buckets: 10, bytes, objects }).await.unwrap();
}

on_both! {
    async fn it_is_given_up_at_once(fixture: Fixture) {
        let fixture = with_grace(fixture).await;
        let bucket = fixture.bucket("docs", Versioning::Unversioned).await;
        fixture.put(&bucket, "a", b"one").await;
        let large = vec![7; 2 << 20];
        put_refused(&fixture, &bucket, "a", b"two").await;
        put_refused(&fixture, &bucket, "a", &large).await;
        drop(ingest(&fixture.objects, &bucket, b"nobody wants it").await);
        limit(&fixture, Some(4), None).await;
        let upload = begin(&fixture, &bucket, "film").await;
        assert!(part(&fixture, &upload, 1, b"too much").await.is_err());
        assert_eq!(fixture.held().await.len(), 5);
        let keeper = tokio::spawn({
            let objects = fixture.objects.clone();
            async move { objects.keep_on().await }
        });
        let given_up = async {
            while fixture.held().await.len() > 1 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), given_up).await.unwrap();
        keeper.abort();
        assert_eq!(fixture.get(&bucket, "a").await.unwrap(), b"one");
        fixture.check().await;
    }

    async fn it_stays_where_it_is_somebody_elses_too(fixture: Fixture) {
        let fixture = with_grace(fixture).await;
        let bucket = fixture.bucket("docs", Versioning::Unversioned).await;
        fixture.put(&bucket, "a", b"one").await;
        put_refused(&fixture, &bucket, "a", b"one").await;
        // Somebody has the same content in hand, with an older claim.
        let in_hand = ingest(&fixture.objects, &bucket, b"two").await;
        put_refused(&fixture, &bucket, "a", b"two").await;
        fixture.objects.keep(Timestamp::now()).await.unwrap();
        assert_eq!(fixture.held().await.len(), 2);
        let put = Put {
            bucket: bucket.clone(),
            key: "b".parse().unwrap(),
            content: in_hand,
            attributes: attributes(b"two"),
            conditions: Conditions::default(),
            by: CreatedBy::Put,
        };
        fixture.objects.put(put).await.unwrap();
        fixture.objects.keep(Timestamp::now()).await.unwrap();
        assert_eq!(fixture.get(&bucket, "a").await.unwrap(), b"one");
        assert_eq!(fixture.get(&bucket, "b").await.unwrap(), b"two");
        fixture.check().await;
        // Content that was deleted has its time of grace.
        fixture.delete(&bucket, "b", None).await;
        put_refused(&fixture, &bucket, "a", b"two").await;
        fixture.objects.keep(Timestamp::now()).await.unwrap();
        assert!(fixture.held().await.contains(&Address::of(b"two")));
    }

    async fn what_there_is_no_room_for_is_told_beforehand(fixture: Fixture) {
        for versioning in [Versioning::Unversioned, Versioning::Enabled, Versioning::Suspended] {
            limit(&fixture, None, None).await;
            let bucket = fixture.bucket(&format!("{versioning:?}").to_lowercase(), versioning).await;
            fixture.put(&bucket, "a", b"12345").await;
            let held = fixture.objects.account_usage(&account());
            let key: ObjectKey = "a".parse().unwrap();
            let check = |size| fixture.objects.check_quota(Target::Object { bucket: &bucket, key: &key }, size);
            limit(&fixture, Some(held.bytes + 3), None).await;
            check(3).await.unwrap();
            let replaces = versioning != Versioning::Enabled;
            assert_eq!(check(8).await.is_ok(), replaces, "{versioning:?}");
            assert!(matches!(check(9).await, Err(Error::Refused(Refusal::OutOfBytes { .. }))));
            limit(&fixture, None, Some(held.objects)).await;
            assert_eq!(check(1).await.is_ok(), replaces, "{versioning:?}");
        }
        let bucket: BucketName = "unversioned".parse().unwrap();
        limit(&fixture, None, None).await;
        let upload = begin(&fixture, &bucket, "film").await;
        part(&fixture, &upload, 1, b"12345").await.unwrap();
        let usage = fixture.objects.account_usage(&account());
        limit(&fixture, Some(usage.bytes + usage.uploading_bytes + 3), None).await;
        let check = |number, size| fixture.objects.check_quota(Target::Part { upload: &upload, number }, size);
        check(1, 8).await.unwrap();
        check(2, 3).await.unwrap();
        assert!(check(1, 9).await.is_err() && check(2, 4).await.is_err());
    }
}
