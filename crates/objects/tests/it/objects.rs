//! Objects, buckets and quotas.

use std::sync::Arc;

use mainstay_bucket::conditions::EntityTags;
use mainstay_bucket::{Conditions, Quota, Settings, Tags, Versioning};
use mainstay_dataplane::{Compression, Expect, IngestError as PlaneError, Measure};
use mainstay_objects::{CreatedBy, Error, Ingest, IngestError, Limits, NewBucket, Put, Refusal};
use mainstay_types::{InstanceId, Timestamp};

use crate::harness::{account, attributes, etag, ingest, put, source};
use crate::on_both;

on_both! {
    async fn an_object_is_what_was_put_last(fixture: Fixture) {
        let bucket = fixture.bucket("pictures", Versioning::Unversioned).await;
        assert_eq!(fixture.get(&bucket, "a").await, None);
        fixture.put(&bucket, "a", b"one").await;
        let version = fixture.put(&bucket, "a", b"two").await;
        assert_eq!(fixture.get(&bucket, "a").await.unwrap(), b"two");
        assert_eq!(fixture.read(&version, Some(1..2)).await, b"w");
        assert_eq!(fixture.get(&bucket, "b").await, None);
        fixture.put(&bucket, "empty", b"").await;
        assert_eq!(fixture.get(&bucket, "empty").await.unwrap(), b"");
        fixture.check().await;
        let fixture = fixture.reopen().await;
        assert_eq!(fixture.get(&bucket, "a").await.unwrap(), b"two");
        assert!(!fixture.delete(&bucket, "a", None).await.marker);
        fixture.delete(&bucket, "a", None).await;
        assert_eq!(fixture.get(&bucket, "a").await, None);
        fixture.check().await;
        let kept = fixture.objects.keep(Timestamp::now()).await.unwrap();
        assert_eq!((kept.collected, kept.orphans), (2, 0));
        assert_eq!(fixture.held().await.len(), 1);
        fixture.check().await;
    }

    async fn a_stream_that_is_not_what_was_said_leaves_nothing(fixture: Fixture) {
        let bucket = fixture.bucket("pictures", Versioning::Unversioned).await;
        let expect = Expect { size: Some(4), ..Expect::default() };
        let (md5, encrypt, compression) = (false, false, Compression::None);
        let wrong = Ingest { source: source(b"three"), expect, md5, encrypt, compression };
        let refused = fixture.objects.ingest(&bucket, wrong).await;
        assert!(matches!(refused, Err(IngestError::DataPlane(PlaneError::Mismatch(Measure::Size)))));
        let nowhere = Ingest { source: source(b""), expect: Expect::default(), md5, encrypt, compression };
        let refused = fixture.objects.ingest(&"nowhere".parse().unwrap(), nowhere).await;
        assert!(matches!(refused, Err(IngestError::Refused(Refusal::NoSuchBucket))));
        // What was taken in and never put is found, but not while somebody may still put it.
        let content = ingest(&fixture.objects, &bucket, b"orphan").await;
        assert_eq!(fixture.objects.keep(Timestamp::now()).await.unwrap().orphans, 0);
        drop(content);
        assert_eq!(fixture.objects.keep(Timestamp::now()).await.unwrap().orphans, 1);
        assert!(fixture.held().await.is_empty());
    }

    async fn a_copy_moves_no_bytes_and_outlives_its_source(fixture: Fixture) {
        let bucket = fixture.bucket("pictures", Versioning::Unversioned).await;
        let source = fixture.put(&bucket, "a", b"content").await;
        let copy = |content| Put {
            bucket: bucket.clone(),
            key: "b".parse().unwrap(),
            content,
            attributes: attributes(b"content"),
            conditions: Conditions::default(),
            by: CreatedBy::Copy,
        };
        let content = fixture.objects.content_of(&source).await.unwrap();
        let late = fixture.objects.content_of(&source).await.unwrap();
        fixture.objects.put(copy(content)).await.unwrap();
        fixture.delete(&bucket, "a", None).await;
        fixture.objects.keep(Timestamp::now()).await.unwrap();
        assert_eq!(fixture.get(&bucket, "b").await.unwrap(), b"content");
        fixture.check().await;
        // While a copy is under way the content stays, even where nothing else refers to it.
        fixture.delete(&bucket, "b", None).await;
        assert_eq!(fixture.objects.keep(Timestamp::now()).await.unwrap().collected, 0);
        fixture.objects.put(copy(late)).await.unwrap();
        assert_eq!(fixture.get(&bucket, "b").await.unwrap(), b"content");
        fixture.delete(&bucket, "b", None).await;
        assert_eq!(fixture.objects.keep(Timestamp::now()).await.unwrap().collected, 1);
        // The source was deleted and collected before the copy began: its record is all that is left.
        let content = fixture.objects.content_of(&source).await.unwrap();
        let refused = fixture.objects.put(copy(content)).await;
        assert!(matches!(refused, Err(Error::Refused(Refusal::SourceGone))));
        fixture.check().await;
    }

    async fn conditions_are_checked_where_the_change_is_made(fixture: Fixture) {
        let bucket = fixture.bucket("locks", Versioning::Unversioned).await;
        let absent = Conditions { if_none_match: Some(EntityTags::Any), ..Conditions::default() };
        let is = |bytes: &[u8]| Conditions {
            if_match: Some(EntityTags::Of(vec![etag(bytes).to_string()])),
            ..Conditions::default()
        };
        let put = |bytes: &'static [u8], conditions| put(&fixture.objects, &bucket, "state", bytes, conditions);
        assert!(matches!(put(b"1", is(b"0")).await, Err(Error::Refused(Refusal::ConditionOnNothing))));
        put(b"1", absent.clone()).await.unwrap();
        assert!(matches!(put(b"2", absent).await, Err(Error::Refused(Refusal::PreconditionFailed))));
        assert!(matches!(put(b"2", is(b"0")).await, Err(Error::Refused(Refusal::PreconditionFailed))));
        put(b"2", is(b"1")).await.unwrap();
        assert_eq!(fixture.get(&bucket, "state").await.unwrap(), b"2");
        fixture.check().await;
    }

    async fn tags_are_replaced_and_the_rest_stays(fixture: Fixture) {
        let bucket = fixture.bucket("pictures", Versioning::Unversioned).await;
        let before = fixture.put(&bucket, "a", b"one").await;
        let tags = Tags::of_object([("team".to_owned(), "shop".to_owned())]).unwrap();
        let key = "a".parse().unwrap();
        let after = fixture.objects.set_tags(&bucket, &key, None, tags.clone()).await.unwrap();
        assert_eq!((after.sequence, after.modified_at), (before.sequence, before.modified_at));
        assert_eq!(fixture.objects.head(&bucket, &key, None).await.unwrap().attributes.tags, tags);
        let missing = fixture.objects.set_tags(&bucket, &"b".parse().unwrap(), None, Tags::default()).await;
        assert!(matches!(missing, Err(Error::Refused(Refusal::NoSuchKey { .. }))));
        fixture.check().await;
    }

    async fn a_quota_counts_everything_that_is_kept(fixture: Fixture) {
        let settings = Settings { quota: Quota { bytes: Some(10), objects: None }, ..Settings::default() };
        let one = fixture.bucket_with("one", settings).await;
        let two = fixture.bucket("two", Versioning::Unversioned).await;
        let limits = Limits { buckets: 2, bytes: Some(15), objects: Some(3) };
        fixture.objects.put_account(&account(), limits).await.unwrap();
        let put = |bucket, key, bytes| put(&fixture.objects, bucket, key, bytes, Conditions::default());
        put(&one, "a", b"12345678").await.unwrap();
        assert!(matches!(put(&one, "b", b"123").await, Err(Error::Refused(Refusal::OutOfBytes { limit: 10 }))));
        put(&one, "a", b"1234567890").await.unwrap();
        assert!(matches!(put(&two, "b", b"123456").await, Err(Error::Refused(Refusal::OutOfBytes { limit: 15 }))));
        put(&two, "b", b"").await.unwrap();
        put(&two, "c", b"").await.unwrap();
        assert!(matches!(put(&two, "d", b"").await, Err(Error::Refused(Refusal::OutOfObjects { limit: 3 }))));
        // Replacing and deleting are always possible.
        let limits = Limits { buckets: 2, bytes: Some(1), objects: Some(1) };
        fixture.objects.put_account(&account(), limits).await.unwrap();
        put(&one, "a", b"123").await.unwrap();
        fixture.delete(&two, "b", None).await;
        assert_eq!(fixture.objects.account_usage(&account()).bytes, 3);
        fixture.check().await;
    }

    async fn names_of_buckets_are_unique_and_an_instance_has_so_many(fixture: Fixture) {
        let other = InstanceId::from_random(8);
        fixture.objects.put_account(&other, Limits::default()).await.unwrap();
        let name = fixture.bucket("pictures", Versioning::Unversioned).await;
        let new = |name: &str, account: &InstanceId| NewBucket {
            name: name.parse().unwrap(),
            account: account.clone(),
            settings: Settings::default(),
        };
        let create = |new| fixture.objects.create_bucket(new);
        assert!(matches!(create(new("pictures", &account())).await, Err(Error::Refused(Refusal::BucketOwned))));
        assert!(matches!(create(new("pictures", &other)).await, Err(Error::Refused(Refusal::BucketExists))));
        create(new("films", &other)).await.unwrap();
        assert!(matches!(create(new("books", &other)).await, Err(Error::Refused(Refusal::TooManyBuckets { limit: 1 }))));
        let stranger = InstanceId::from_random(9);
        assert!(matches!(create(new("books", &stranger)).await, Err(Error::Refused(Refusal::NoSuchAccount))));
        fixture.put(&name, "a", b"one").await;
        assert!(matches!(fixture.objects.delete_bucket(&name).await, Err(Error::Refused(Refusal::BucketNotEmpty))));
        fixture.delete(&name, "a", None).await;
        fixture.objects.delete_bucket(&name).await.unwrap();
        assert!(matches!(fixture.objects.delete_bucket(&name).await, Err(Error::Refused(Refusal::NoSuchBucket))));
        create(new("pictures", &account())).await.unwrap();
        assert_eq!(fixture.get(&name, "a").await, None);
        let fixture = fixture.reopen().await;
        assert_eq!(fixture.objects.buckets(&other)[0].name.as_str(), "films");
        fixture.check().await;
    }

    async fn settings_go_together_and_last(fixture: Fixture) {
        let bucket = fixture.bucket("pictures", Versioning::Unversioned).await;
        let change = |versioning| {
            let change = move |settings: &mut Settings| {
                settings.versioning = versioning;
                Ok(())
            };
            fixture.objects.change_settings(&bucket, Box::new(change))
        };
        change(Versioning::Enabled).await.unwrap();
        change(Versioning::Suspended).await.unwrap();
        assert!(matches!(change(Versioning::Unversioned).await, Err(Error::Refused(Refusal::InvalidSettings { .. }))));
        let refuse = |_: &mut Settings| Err(Refusal::NoLock);
        let refused = fixture.objects.change_settings(&bucket, Box::new(refuse)).await;
        assert!(matches!(refused, Err(Error::Refused(Refusal::NoLock))));
        let fixture = fixture.reopen().await;
        assert_eq!(fixture.objects.bucket(&bucket).unwrap().settings.versioning, Versioning::Suspended);
    }

    async fn an_instance_goes_with_everything_that_it_has(fixture: Fixture) {
        use mainstay_objects::{NewUpload, UploadAttributes};

        let bucket = fixture.bucket("pictures", Versioning::Enabled).await;
        for key in ["a", "b", "a", "a"] {
            fixture.put(&bucket, key, key.as_bytes()).await;
        }
        fixture.delete(&bucket, "b", None).await;
        let attributes = UploadAttributes {
            metadata: Default::default(),
            tags: Tags::default(),
            retention: None,
            legal_hold: Default::default(),
            encrypted: false,
            checksum: None,
        };
        let new = NewUpload { bucket: bucket.clone(), key: "c".parse().unwrap(), attributes };
        fixture.objects.create_upload(new).await.unwrap();
        fixture.objects.remove_account(&account()).await.unwrap();
        fixture.objects.remove_account(&account()).await.unwrap();
        assert!(fixture.objects.account(&account()).is_none() && fixture.objects.bucket(&bucket).is_none());
        fixture.objects.keep(Timestamp::now()).await.unwrap();
        assert!(fixture.held().await.is_empty());
        for table in ["SELECT 1 FROM objects", "SELECT 1 FROM versions", "SELECT 1 FROM uploads", "SELECT 1 FROM contents"] {
            assert!(fixture.rows(table).await.is_empty(), "{table}");
        }
    }

    async fn a_closed_store_says_so(fixture: Fixture) {
        let bucket = fixture.bucket("pictures", Versioning::Unversioned).await;
        let other = Arc::new(fixture.objects.clone());
        fixture.objects.close().await;
        let refused = put(&other, &bucket, "a", b"", Conditions::default()).await;
        assert!(matches!(refused, Err(Error::Index(_))));
    }
}
