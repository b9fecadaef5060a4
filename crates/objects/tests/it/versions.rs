//! Versions, delete markers and locks.

use mainstay_bucket::{LegalHold, ObjectLock, Retention, RetentionMode, Settings, VersionId, Versioning};
use mainstay_objects::{Delete, Error, Refusal, VersionEntry, VersionsQuery};
use mainstay_types::Timestamp;

use crate::harness::{Fixture, deletion};
use crate::on_both;

/// All versions of a bucket: key, id, whether a marker, whether the latest.
async fn all(fixture: &Fixture, bucket: &mainstay_bucket::BucketName) -> Vec<(String, VersionId, bool, bool)> {
    let query = VersionsQuery { limit: 100, ..VersionsQuery::default() };
    let page = fixture.objects.list_versions(bucket, query).await.unwrap();
    let row = |listed: mainstay_objects::ListedVersion| match listed.entry {
        VersionEntry::Version(version) => (listed.key.to_string(), version.id, false, listed.latest),
        VersionEntry::Marker { id, .. } => (listed.key.to_string(), id, true, listed.latest),
    };
    page.entries.into_iter().map(row).collect()
}

on_both! {
    async fn earlier_versions_stay_until_they_are_deleted_by_name(fixture: Fixture) {
        let bucket = fixture.bucket("docs", Versioning::Enabled).await;
        let one = fixture.put(&bucket, "a", b"one").await.id;
        let two = fixture.put(&bucket, "a", b"two").await.id;
        assert_ne!(one, two);
        assert_eq!(fixture.get_version(&bucket, "a", Some(&one)).await.unwrap(), b"one");
        let hidden = fixture.delete(&bucket, "a", None).await;
        assert!(hidden.marker);
        let marker = hidden.version.unwrap();
        assert_eq!(fixture.get(&bucket, "a").await, None);
        let key = "a".parse().unwrap();
        let missing = fixture.objects.head(&bucket, &key, None).await;
        assert!(matches!(missing, Err(Error::Refused(Refusal::NoSuchKey { marker: Some(id) })) if id == marker));
        let missing = fixture.objects.head(&bucket, &key, Some(&marker)).await;
        assert!(matches!(missing, Err(Error::Refused(Refusal::IsMarker { .. }))));
        let expected = [("a".to_owned(), marker, true, true), ("a".to_owned(), two, false, false), ("a".to_owned(), one, false, false)];
        assert_eq!(all(&fixture, &bucket).await, expected);
        fixture.check().await;
        // Without the marker the object is back; without its newest version the one before is.
        assert!(fixture.delete(&bucket, "a", Some(marker)).await.marker);
        assert_eq!(fixture.get(&bucket, "a").await.unwrap(), b"two");
        fixture.delete(&bucket, "a", Some(two)).await;
        assert_eq!(fixture.get(&bucket, "a").await.unwrap(), b"one");
        fixture.check().await;
        fixture.delete(&bucket, "a", Some(one)).await;
        assert_eq!(fixture.get(&bucket, "a").await, None);
        assert!(all(&fixture, &bucket).await.is_empty());
        let again = fixture.delete(&bucket, "a", Some(one)).await;
        assert_eq!((again.version, again.marker), (Some(one), false));
        fixture.check().await;
    }

    async fn a_marker_among_markers_does_not_show_what_they_hide(fixture: Fixture) {
        let bucket = fixture.bucket("docs", Versioning::Enabled).await;
        fixture.put(&bucket, "a", b"one").await;
        let first = fixture.delete(&bucket, "a", None).await.version;
        let second = fixture.delete(&bucket, "a", None).await.version;
        fixture.delete(&bucket, "a", first).await;
        assert_eq!(fixture.get(&bucket, "a").await, None);
        fixture.check().await;
        fixture.delete(&bucket, "a", second).await;
        assert_eq!(fixture.get(&bucket, "a").await.unwrap(), b"one");
        fixture.check().await;
    }

    async fn a_suspended_bucket_replaces_its_null_versions_alone(fixture: Fixture) {
        let bucket = fixture.bucket("docs", Versioning::Unversioned).await;
        let set = |versioning| {
            let change = move |settings: &mut Settings| {
                settings.versioning = versioning;
                Ok(())
            };
            fixture.objects.change_settings(&bucket, Box::new(change))
        };
        assert_eq!(fixture.put(&bucket, "a", b"before").await.id, VersionId::Null);
        set(Versioning::Enabled).await.unwrap();
        let one = fixture.put(&bucket, "a", b"one").await.id;
        assert_eq!(fixture.get_version(&bucket, "a", Some(&VersionId::Null)).await.unwrap(), b"before");
        set(Versioning::Suspended).await.unwrap();
        assert_eq!(fixture.put(&bucket, "a", b"null").await.id, VersionId::Null);
        assert_eq!(fixture.get_version(&bucket, "a", Some(&one)).await.unwrap(), b"one");
        fixture.put(&bucket, "a", b"again").await;
        let expected = [("a".to_owned(), VersionId::Null, false, true), ("a".to_owned(), one, false, false)];
        assert_eq!(all(&fixture, &bucket).await, expected);
        fixture.check().await;
        let marker = fixture.delete(&bucket, "a", None).await;
        assert_eq!((marker.version, marker.marker), (Some(VersionId::Null), true));
        let expected = [("a".to_owned(), VersionId::Null, true, true), ("a".to_owned(), one, false, false)];
        assert_eq!(all(&fixture, &bucket).await, expected);
        fixture.put(&bucket, "a", b"back").await;
        assert_eq!(all(&fixture, &bucket).await.len(), 2);
        fixture.check().await;
    }

    async fn what_is_locked_stays(fixture: Fixture) {
        let lock = Some(ObjectLock::default());
        let bucket = fixture.bucket_with("records", Settings { lock, ..Settings::default() }).await;
        let version = fixture.put(&bucket, "a", b"one").await.id;
        let key = "a".parse().unwrap();
        let until = Timestamp::now().plus_seconds(3600);
        let retain = |mode, until, bypass| {
            let retention = Some(Retention { mode, until });
            fixture.objects.set_retention(&bucket, &key, Some(&version), retention, bypass)
        };
        let delete = |bypass_governance| {
            fixture.objects.delete(Delete { bypass_governance, ..deletion(&bucket, "a", Some(version)) })
        };
        retain(RetentionMode::Governance, until, false).await.unwrap();
        assert!(matches!(delete(false).await, Err(Error::Refused(Refusal::Locked(_)))));
        let sooner = Timestamp::now().plus_seconds(60);
        assert!(matches!(retain(RetentionMode::Governance, sooner, false).await, Err(Error::Refused(Refusal::Locked(_)))));
        retain(RetentionMode::Governance, sooner, true).await.unwrap();
        fixture.objects.set_legal_hold(&bucket, &key, None, LegalHold::On).await.unwrap();
        assert!(matches!(delete(true).await, Err(Error::Refused(Refusal::Locked(_)))));
        // It can be hidden all the same.
        fixture.delete(&bucket, "a", None).await;
        fixture.objects.set_legal_hold(&bucket, &key, Some(&version), LegalHold::Off).await.unwrap();
        delete(true).await.unwrap();
        fixture.check().await;

        let plain = fixture.bucket("plain", Versioning::Enabled).await;
        fixture.put(&plain, "a", b"one").await;
        let refused = fixture.objects.set_legal_hold(&plain, &key, None, LegalHold::On).await;
        assert!(matches!(refused, Err(Error::Refused(Refusal::NoLock))));
    }

    async fn a_listing_goes_on_behind_a_null_version_that_is_gone(fixture: Fixture) {
        let bucket = fixture.bucket("docs", Versioning::Enabled).await;
        let set = |versioning| {
            let change = move |settings: &mut Settings| {
                settings.versioning = versioning;
                Ok(())
            };
            fixture.objects.change_settings(&bucket, Box::new(change))
        };
        let oldest = fixture.put(&bucket, "a", b"1").await.id;
        set(Versioning::Suspended).await.unwrap();
        fixture.put(&bucket, "a", b"null").await;
        set(Versioning::Enabled).await.unwrap();
        let newest = fixture.put(&bucket, "a", b"2").await.id;
        let page = |after| {
            fixture.objects.list_versions(&bucket, VersionsQuery { limit: 2, after, ..VersionsQuery::default() })
        };
        let ids = |page: &mainstay_objects::VersionsPage| {
            page.entries.iter().map(|listed| (listed.entry.id(), listed.latest)).collect::<Vec<_>>()
        };
        let first = page(None).await.unwrap();
        assert_eq!(ids(&first), [(newest, true), (VersionId::Null, false)]);
        fixture.delete(&bucket, "a", Some(VersionId::Null)).await;
        assert_eq!(ids(&page(first.next).await.unwrap()), [(oldest, false)]);
        // Where nothing is left that says where it was, nothing is left out.
        let again = page(Some(("a".to_owned(), Some(VersionId::Null)))).await.unwrap();
        assert_eq!(ids(&again), [(newest, true), (oldest, false)]);
    }
}
