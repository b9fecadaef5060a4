//! Damage is found and named.

use std::sync::Mutex;

use mainstay_bucket::Versioning;
use mainstay_objects::{Contents, ReadError, ScrubProgress, Version};

use crate::harness::account;
use crate::on_both;
use crate::uploads::{begin, complete, part};

/// Long enough to stand nowhere else.
const HURT: &[u8] = b"content that is going to be hurt by a flipped bit";

fn address(version: &Version) -> mainstay_dataplane::Address {
    match &version.content {
        Contents::One(piece) => piece.address,
        Contents::Many { .. } => panic!("it was put at once"),
    }
}

on_both! {
    async fn damage_is_told_where_a_row_is_damaged_too(fixture: Fixture) {
        let bucket = fixture.bucket("plain", Versioning::Unversioned).await;
        fixture.put(&bucket, "hurt", HURT).await;
        fixture.put(&bucket, "a row", b"whole").await;
        fixture.alter("UPDATE objects SET record = contents.address FROM contents WHERE key = 'a row'").await;
        fixture.damage(HURT);
        let report = fixture.objects.scrub(None, &|_| {}).await.unwrap();
        let touched: Vec<_> = report.damaged.iter().flat_map(|damaged| &damaged.touches).collect();
        assert_eq!(touched.iter().map(|touched| touched.key.as_str()).collect::<Vec<_>>(), ["hurt"]);
    }

    async fn damage_is_named_with_all_that_it_touches(fixture: Fixture) {
        let plain = fixture.bucket("plain", Versioning::Unversioned).await;
        let versioned = fixture.bucket("versioned", Versioning::Enabled).await;
        let hurt = fixture.put(&plain, "hurt", HURT).await;
        fixture.put(&plain, "whole", b"whole").await;
        fixture.put(&versioned, "behind", HURT).await;
        fixture.put(&versioned, "behind", b"whole").await;
        let lost = fixture.put(&versioned, "lost", b"lost").await;
        let upload = begin(&fixture, &versioned, "film").await;
        part(&fixture, &upload, 1, HURT).await.unwrap();
        fixture.objects.complete(complete(&upload, &[(1, HURT)])).await.unwrap();
        let upload = begin(&fixture, &plain, "coming").await;
        part(&fixture, &upload, 1, b"lost").await.unwrap();

        let report = fixture.objects.scrub(None, &|_| {}).await.unwrap();
        assert_eq!((report.contents, report.bytes, report.damaged.len()), (3, 9 + HURT.len() as u64, 0));
        fixture.damage(HURT);
        fixture.lose(b"lost").await;
        assert!(matches!(fixture.objects.read(&hurt, None).await, Err(ReadError::DataPlane(_))));
        let seen = Mutex::new(ScrubProgress::default());
        let report = fixture.objects.scrub(Some(1 << 20), &|progress| *seen.lock().unwrap() = progress).await.unwrap();
        let seen = *seen.lock().unwrap();
        assert_eq!((seen.contents, seen.total, seen.damaged), (3, 3, 2));
        let touched = |content| {
            let found = report.damaged.iter().find(|damaged| damaged.address == content).unwrap();
            assert!(found.touches.iter().all(|touched| touched.account == account()));
            let mut names: Vec<_> =
                found.touches.iter().map(|touched| format!("{}/{}", touched.bucket, touched.key)).collect();
            names.sort();
            names
        };
        assert_eq!(touched(address(&hurt)), ["plain/hurt", "versioned/behind", "versioned/film"]);
        assert_eq!(touched(address(&lost)), ["plain/coming", "versioned/lost"]);
    }
}
