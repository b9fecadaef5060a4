//! Many callers at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mainstay_bucket::conditions::EntityTags;
use mainstay_bucket::{Conditions, Settings, Versioning};
use mainstay_objects::{CreatedBy, Error, IndexError, NewBucket, Put, Refusal};
use mainstay_types::Timestamp;

use crate::harness::{account, attributes, deletion, put};
use crate::on_both;

on_both! {
    async fn of_many_that_demand_that_there_is_nothing_one_wins(fixture: Fixture) {
        let bucket = fixture.bucket("locks", Versioning::Unversioned).await;
        for round in 0..5 {
            let key = format!("lock-{round}");
            let tasks = (0..16u8).map(|caller| {
                let (objects, bucket, key) = (fixture.objects.clone(), bucket.clone(), key.clone());
                let conditions = Conditions { if_none_match: Some(EntityTags::Any), ..Conditions::default() };
                tokio::spawn(async move { put(&objects, &bucket, &key, &[caller], conditions).await })
            });
            let tasks: Vec<_> = tasks.collect();
            let mut won = Vec::new();
            for task in tasks {
                match task.await.unwrap() {
                    Ok(version) => won.push(version),
                    Err(Error::Refused(Refusal::PreconditionFailed)) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            assert_eq!(won.len(), 1);
            let head = fixture.objects.head(&bucket, &key.parse().unwrap(), None).await.unwrap();
            assert_eq!(head, won[0]);
        }
        fixture.check().await;
    }

    async fn who_meets_a_damaged_row_fails_alone(fixture: Fixture) {
        let bucket = fixture.bucket("rows", Versioning::Unversioned).await;
        fixture.put(&bucket, "damaged", b"content").await;
        fixture.alter("UPDATE objects SET record = contents.address FROM contents WHERE key = 'damaged'").await;
        let fixture = fixture.reopen().await;
        let puts = (0..48).map(|number| {
            let (objects, bucket) = (fixture.objects.clone(), bucket.clone());
            let key = if number % 16 == 8 { "damaged".to_owned() } else { format!("whole-{number}") };
            async move { (number, put(&objects, &bucket, &key, key.as_bytes(), Conditions::default()).await) }
        });
        for (number, result) in futures::future::join_all(puts).await {
            match result {
                Ok(_) => assert_ne!(number % 16, 8),
                Err(Error::Index(IndexError::Record(_))) => assert_eq!(number % 16, 8),
                Err(error) => panic!("{number}: {error}"),
            }
        }
    }

    async fn the_same_content_is_put_copied_deleted_and_collected_at_once(fixture: Fixture) {
        let bucket = fixture.bucket("same", Versioning::Unversioned).await;
        let versioned = fixture.bucket("versioned", Versioning::Enabled).await;
        let done = Arc::new(AtomicBool::new(false));
        let collector = tokio::spawn({
            let (objects, done) = (fixture.objects.clone(), done.clone());
            async move {
                while !done.load(Ordering::Relaxed) {
                    objects.keep(Timestamp::now()).await.unwrap();
                    tokio::task::yield_now().await;
                }
            }
        });
        let callers = (0..8u64).map(|caller| {
            let objects = fixture.objects.clone();
            let bucket = if caller % 2 == 0 { bucket.clone() } else { versioned.clone() };
            tokio::spawn(async move {
                for round in 0..40u64 {
                    let number = (caller * 31 + round * 17) % 7;
                    let (key, other) = (format!("k{}", number % 3), format!("k{}", (number + 1) % 3));
                    let bytes = [(number % 2) as u8; 5];
                    match number {
                        0..=2 => drop(put(&objects, &bucket, &key, &bytes, Conditions::default()).await.unwrap()),
                        3 | 4 => {
                            if let Ok(source) = objects.head(&bucket, &key.parse().unwrap(), None).await
                                && let Ok(content) = objects.content_of(&source).await
                            {
                                let copy = Put {
                                    bucket: bucket.clone(),
                                    key: other.parse().unwrap(),
                                    content,
                                    attributes: attributes(&bytes),
                                    conditions: Conditions::default(),
                                    by: CreatedBy::Copy,
                                };
                                match objects.put(copy).await {
                                    Ok(_) | Err(Error::Refused(Refusal::SourceGone)) => {}
                                    Err(error) => panic!("{error}"),
                                }
                            }
                        }
                        _ => {
                            let id = objects.head(&bucket, &key.parse().unwrap(), None).await.ok().map(|of| of.id);
                            let id = id.filter(|_| round % 3 == 0);
                            let _ = objects.delete(deletion(&bucket, &key, id)).await.unwrap();
                        }
                    }
                }
            })
        });
        for caller in callers.collect::<Vec<_>>() {
            caller.await.unwrap();
        }
        done.store(true, Ordering::Relaxed);
        collector.await.unwrap();
        fixture.check().await;
        fixture.objects.keep(Timestamp::now()).await.unwrap();
        fixture.check().await;
        let rows = fixture.rows("SELECT count(*) FROM contents").await;
        assert_eq!(rows[0].integer(0).unwrap() as usize, fixture.held().await.len());
        for key in ["k0", "k1", "k2"] {
            for bucket in [&bucket, &versioned] {
                fixture.get(bucket, key).await;
            }
        }
    }

    async fn buckets_and_objects_come_and_go_at_once(fixture: Fixture) {
        fixture.bucket("first", Versioning::Unversioned).await;
        let tasks = (0..6u8).map(|caller| {
            let objects = fixture.objects.clone();
            tokio::spawn(async move {
                let name: mainstay_bucket::BucketName = format!("bucket-{caller}").parse().unwrap();
                for round in 0..6u8 {
                    let new = NewBucket { name: name.clone(), account: account(), settings: Settings::default() };
                    objects.create_bucket(new).await.unwrap();
                    put(&objects, &name, "a", &[round], Conditions::default()).await.unwrap();
                    assert!(objects.delete_bucket(&name).await.is_err());
                    objects.delete(deletion(&name, "a", None)).await.unwrap();
                    objects.delete_bucket(&name).await.unwrap();
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        assert_eq!(fixture.objects.buckets(&account()).len(), 1);
        fixture.check().await;
    }

    async fn a_second_writer_is_noticed(fixture: Fixture) {
        use std::time::Duration;

        let bucket = fixture.bucket("shared", Versioning::Unversioned).await;
        let (plane, keys) = (fixture.plane.clone(), fixture.keys.clone());
        let other = crate::harness::Fixture::with(fixture.place.clone(), plane, keys, Duration::ZERO).await;
        for round in 0..5u8 {
            fixture.put(&bucket, "a", &[round]).await;
            other.put(&bucket, "a", &[round + 100]).await;
            other.put(&bucket, &format!("b{round}"), &[round]).await;
        }
        fixture.put(&bucket, "a", b"last").await;
        assert_eq!(fixture.get(&bucket, "a").await.unwrap(), b"last");
        fixture.check().await;
    }
}
