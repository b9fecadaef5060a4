//! Expiry, collection and notifications.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mainstay_bucket::lifecycle::{Expiration, Filter, Lifecycle, NoncurrentExpiration, Rule};
use mainstay_bucket::notification::{EventKind, EventPattern, Notification, Notifications, TargetKind};
use mainstay_bucket::{BucketName, Conditions, Settings, Tags, Versioning};
use mainstay_dataplane::{Address, Inventory, Owner, Stored, Trouble};
use mainstay_objects::{Limits, NewBucket};
use mainstay_storage::Statement;
use mainstay_types::Timestamp;

use crate::harness::{Fixture, Place, TestFeed, TestKeys, account, deletion, open, put};
use crate::on_both;
use crate::plane::MemoryPlane;
use crate::uploads::{begin, part};

const DAY: u64 = 24 * 3600;

async fn rules(fixture: &Fixture, bucket: &BucketName, rules: Vec<Rule>) {
    let lifecycle = Lifecycle::new(rules).unwrap();
    let change = move |settings: &mut Settings| {
        settings.lifecycle = Some(lifecycle.clone());
        Ok(())
    };
    fixture.objects.change_settings(bucket, Box::new(change)).await.unwrap();
}

fn rule(prefix: &str) -> Rule {
    Rule {
        id: String::new(),
        enabled: true,
        filter: Filter { prefix: Some(prefix.to_owned()), ..Filter::default() },
        expiration: None,
        noncurrent: None,
        abort_uploads_after_days: None,
    }
}

fn in_days(days: u64) -> Timestamp {
    Timestamp::now().plus_seconds(days * DAY)
}

/// Never comes to an end with what it is asked for.
struct Stalled;

#[async_trait]
impl Inventory for Stalled {
    async fn contents(&self, _: Owner, _: Option<Address>, _: usize) -> Result<Vec<Stored>, Trouble> {
        std::future::pending().await
    }

    async fn reclaim(&self) -> Result<u64, Trouble> {
        std::future::pending().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_long_makes_nothing_else_wait() {
    let (place, keys, feed) = (Place::in_files(), Arc::<TestKeys>::default(), Arc::<TestFeed>::default());
    let plane = Arc::new(MemoryPlane::default());
    let (objects, store) =
        open(&place.location, plane.clone(), Arc::new(Stalled), keys.clone(), feed.clone(), Duration::ZERO).await;
    let limits = Limits { buckets: 1, ..Limits::default() };
    objects.put_account(&account(), limits).await.unwrap();
    let wish = Notification {
        id: "all".to_owned(),
        kind: TargetKind::Queue,
        events: vec![EventPattern::GroupOf(EventKind::Put)],
        prefix: None,
        suffix: None,
    };
    let notifications = Some(Notifications::new(vec![wish]).unwrap());
    let settings = Settings { notifications, ..Settings::default() };
    let bucket = BucketName::from_str("docs").unwrap();
    objects.create_bucket(NewBucket { name: bucket.clone(), account: account(), settings }).await.unwrap();
    put(&objects, &bucket, "before", b"content", Conditions::default()).await.unwrap();
    objects.delete(deletion(&bucket, "before", None)).await.unwrap();
    let keeper = tokio::spawn({
        let objects = objects.clone();
        async move { objects.keep_on().await }
    });
    let done = async {
        while !store.read(Statement::new("SELECT 1 FROM contents", [])).await.unwrap().is_empty()
            || feed.told.lock().unwrap().is_empty()
        {
            tokio::task::yield_now().await;
        }
        // Also what happens once something takes long already.
        put(&objects, &bucket, "later", b"other", Conditions::default()).await.unwrap();
        while feed.told.lock().unwrap().len() < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), done).await.unwrap();
    keeper.abort();
}

on_both! {
    async fn a_bucket_with_damage_keeps_no_other_from_its_rules(fixture: Fixture) {
        let expires = || Rule { expiration: Some(Expiration::Days(1)), ..rule("") };
        let mut buckets = Vec::new();
        for name in ["damaged", "whole"] {
            let bucket = fixture.bucket(name, Versioning::Unversioned).await;
            rules(&fixture, &bucket, vec![expires()]).await;
            fixture.put(&bucket, name, b"content").await;
            buckets.push(bucket);
        }
        fixture.alter("UPDATE objects SET record = contents.address FROM contents WHERE key = 'damaged'").await;
        assert!(fixture.objects.keep(in_days(3)).await.is_err());
        assert_eq!(fixture.objects.usage(&buckets[1]).map(|usage| usage.objects), Some(0));
    }

    async fn objects_and_uploads_expire_by_their_rules(fixture: Fixture) {
        let bucket = fixture.bucket("logs", Versioning::Unversioned).await;
        let expiring = Rule { expiration: Some(Expiration::Days(2)), ..rule("old/") };
        let aborting = Rule { abort_uploads_after_days: Some(1), ..rule("") };
        rules(&fixture, &bucket, vec![expiring, aborting]).await;
        for key in ["old/1", "old/2", "new/1"] {
            fixture.put(&bucket, key, key.as_bytes()).await;
        }
        let upload = begin(&fixture, &bucket, "film").await;
        part(&fixture, &upload, 1, b"one").await.unwrap();
        let kept = fixture.objects.keep(in_days(0)).await.unwrap();
        assert_eq!((kept.expired, kept.aborted_uploads), (0, 0));
        let kept = fixture.objects.keep(in_days(4)).await.unwrap();
        assert_eq!((kept.expired, kept.aborted_uploads), (2, 1));
        assert!(fixture.get(&bucket, "old/1").await.is_none() && fixture.get(&bucket, "new/1").await.is_some());
        fixture.check().await;
        assert_eq!(fixture.objects.keep(in_days(4)).await.unwrap().expired, 0);
    }

    async fn versions_expire_by_their_rules(fixture: Fixture) {
        let bucket = fixture.bucket("docs", Versioning::Enabled).await;
        for round in 0..5u8 {
            fixture.put(&bucket, "a", &[round]).await;
        }
        fixture.put(&bucket, "b", b"b").await;
        let noncurrent = Some(NoncurrentExpiration { days: 1, keep: Some(2) });
        rules(&fixture, &bucket, vec![Rule { noncurrent, ..rule("") }]).await;
        assert_eq!(fixture.objects.keep(in_days(3)).await.unwrap().expired, 2);
        assert_eq!(fixture.objects.usage(&bucket).unwrap().objects, 4);
        fixture.check().await;

        let noncurrent = Some(NoncurrentExpiration { days: 1, keep: None });
        let lone = Rule { expiration: Some(Expiration::LoneDeleteMarkers(true)), noncurrent, ..rule("") };
        let hide = Rule { expiration: Some(Expiration::Days(1)), ..rule("a") };
        rules(&fixture, &bucket, vec![lone, hide]).await;
        // First the object is hidden, then what is hidden goes, then the marker that hides nothing.
        let mut rounds = 0;
        while fixture.objects.keep(in_days(3 + rounds)).await.unwrap().expired > 0 {
            rounds += 1;
            assert!(rounds < 10);
        }
        let usage = fixture.objects.usage(&bucket).unwrap();
        assert_eq!((usage.objects, usage.markers), (1, 0));
        assert_eq!(fixture.get(&bucket, "b").await.unwrap(), b"b");
        fixture.check().await;
    }

    async fn unused_content_has_a_time_of_grace(fixture: Fixture) {
        let bucket = fixture.bucket("docs", Versioning::Unversioned).await;
        let version = fixture.put(&bucket, "a", b"one").await;
        let (plane, keys) = (fixture.plane.clone(), fixture.keys.clone());
        fixture.objects.close().await;
        let fixture = Fixture::with(fixture.place, plane, keys, Duration::from_secs(3600)).await;
        fixture.delete(&bucket, "a", None).await;
        assert_eq!(fixture.objects.keep(Timestamp::now()).await.unwrap().collected, 0);
        assert_eq!(fixture.read(&version, None).await, b"one");
        // Content that comes again meanwhile is no longer unused.
        fixture.put(&bucket, "b", b"one").await;
        assert_eq!(fixture.objects.keep(in_days(1)).await.unwrap().collected, 0);
        fixture.delete(&bucket, "b", None).await;
        assert_eq!(fixture.objects.keep(in_days(1)).await.unwrap().collected, 1);
        fixture.check().await;
    }

    async fn what_was_asked_for_is_told_in_order_and_not_lost(fixture: Fixture) {
        let wish = |id: &str, event: EventKind, prefix: &str| Notification {
            id: id.to_owned(),
            kind: TargetKind::Queue,
            events: vec![EventPattern::GroupOf(event)],
            prefix: Some(prefix.to_owned()),
            suffix: None,
        };
        let wishes = vec![wish("new", EventKind::Put, "in/"), wish("gone", EventKind::Delete, "in/")];
        let notifications = Some(Notifications::new(wishes).unwrap());
        let bucket = fixture.bucket_with("docs", Settings { notifications, ..Settings::default() }).await;
        *fixture.feed.broken.lock().unwrap() = true;
        fixture.put(&bucket, "in/a", b"one").await;
        fixture.put(&bucket, "out/a", b"one").await;
        fixture.delete(&bucket, "in/a", None).await;
        let tags = Tags::of_object([("a".to_owned(), "b".to_owned())]).unwrap();
        fixture.objects.set_tags(&bucket, &"out/a".parse().unwrap(), None, tags).await.unwrap();
        assert!(fixture.objects.keep(Timestamp::now()).await.is_err());
        let keeper = tokio::spawn({
            let objects = fixture.objects.clone();
            async move { objects.keep_on().await }
        });
        *fixture.feed.broken.lock().unwrap() = false;
        fixture.put(&bucket, "in/b", b"two").await;
        let told = async {
            while fixture.feed.told.lock().unwrap().len() < 3 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), told).await.unwrap();
        keeper.abort();
        let told = fixture.feed.told.lock().unwrap();
        let events: Vec<_> = told.iter().map(|event| (event.key.as_str(), event.event.as_str(), event.configuration.as_str())).collect();
        let expected = [
            ("in/a", "s3:ObjectCreated:Put", "new"),
            ("in/a", "s3:ObjectRemoved:Delete", "gone"),
            ("in/b", "s3:ObjectCreated:Put", "new"),
        ];
        assert_eq!(events, expected);
        assert!(told.is_sorted_by(|one, other| one.sequencer < other.sequencer));
    }
}
