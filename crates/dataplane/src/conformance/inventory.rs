//! What whoever puts things in order sees.

use std::collections::BTreeMap;

use mainstay_types::Timestamp;

use super::{Fixture, Place, case, eventually, noise, plain};
use crate::{Deletion, Hints, Owner};

pub(super) async fn cases(fixture: &dyn Fixture) {
    case(fixture, "the inventory comes in pages, in order", pages_come_in_order).await;
    case(fixture, "room is given back", room_is_given_back).await;
    case(fixture, "health is looked up", |place| async move {
        let health = place.open().await.plane.backend_health().await;
        assert!(!health.backend.is_empty());
        assert_eq!((health.trouble, health.contents), (None, 0));
    })
    .await;
}

async fn pages_come_in_order(place: Box<dyn Place>) {
    let subject = place.open().await;
    let begun = Timestamp::now();
    let mut expected = BTreeMap::new();
    for seed in 0..25 {
        let content = noise(seed, 1 + seed as usize * 20_000);
        let receipt = subject.ingest(&content, plain()).await;
        expected.insert(receipt.address, (receipt.size, receipt.claim));
        if seed % 3 == 0 {
            let receipt = subject.ingest(&content, plain()).await;
            expected.insert(receipt.address, (receipt.size, receipt.claim));
        }
        if seed % 5 == 0 {
            assert_eq!(
                subject.delete(&subject.ingest(&noise(100 + seed, 500), plain()).await).await,
                Deletion::Deleted
            );
            subject.ingest(&noise(200 + seed, 500), Hints::plain(Owner::Backups)).await;
        }
    }
    let expected: Vec<_> = expected.into_iter().collect();
    let reopened = {
        drop(subject);
        place.open().await
    };
    for limit in [1, 7, 25, 1000] {
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let page = reopened.inventory.contents(Owner::Objects, after, limit).await.unwrap();
            assert!(page.len() <= limit);
            let last = page.len() < limit;
            after = page.last().map(|stored| stored.address).or(after);
            for stored in page {
                assert!((-1.0..300.0).contains(&stored.claimed_at.seconds_since(begun)), "{stored:?}");
                found.push((stored.address, (stored.size, stored.claim)));
            }
            if last {
                break;
            }
        }
        assert_eq!(found, expected, "in pages of {limit}");
    }
    assert_eq!(reopened.inventory.contents(Owner::Backups, None, 100).await.unwrap().len(), 5);
    assert_eq!(reopened.inventory.contents(Owner::Artifacts, None, 100).await.unwrap(), []);
    let end = expected.last().unwrap().0;
    assert_eq!(reopened.inventory.contents(Owner::Objects, Some(end), 100).await.unwrap(), []);
}

async fn room_is_given_back(place: Box<dyn Place>) {
    let subject = place.open().await;
    let kept = noise(1000, 50_000);
    let kept_large = noise(1001, 3_000_000);
    subject.ingest(&kept, plain()).await;
    subject.ingest(&kept_large, plain()).await;
    let mut receipts = Vec::new();
    for seed in 0..40 {
        receipts.push(subject.ingest(&noise(seed, 100_000), plain()).await);
    }
    receipts.push(subject.ingest(&noise(50, 8_000_000), plain()).await);
    let full = subject.plane.backend_health().await.stored_bytes;
    for receipt in &receipts {
        assert_eq!(subject.delete(receipt).await, Deletion::Deleted);
    }
    // Of 12 MB that are gone, at least 10 come back; how the rest is spent is the backend's affair.
    eventually("the room of what is gone comes back", || async {
        subject.inventory.reclaim().await.unwrap();
        subject.plane.backend_health().await.stored_bytes + 10_000_000 <= full
    })
    .await;
    let reopened = {
        drop(subject);
        place.open().await
    };
    for content in [&kept, &kept_large] {
        reopened.gives(content, None).await;
    }
    assert_eq!(reopened.contents().await, 2);
    assert_eq!(reopened.plane.backend_health().await.trouble, None);
}
