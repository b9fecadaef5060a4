//! Operations run at the same time, on the same content too.

use futures::future::join_all;

use super::{Fixture, Place, case, noise, plain};
use crate::{Deletion, Hints, Owner, ServeError};

pub(super) async fn cases(fixture: &dyn Fixture) {
    case(fixture, "many ingest the same content at once", many_ingest_the_same).await;
    case(fixture, "an ingest beside a deletion is never lost", an_ingest_is_never_lost).await;
    case(fixture, "reading beside a deletion gives all or nothing", reading_beside_deleting).await;
    case(fixture, "reclaiming beside everything else loses nothing", reclaiming_beside_work).await;
}

async fn many_ingest_the_same(place: Box<dyn Place>) {
    let subject = place.open().await;
    for len in [4096, 1_500_000] {
        let content = noise(1, len);
        let before = subject.contents().await;
        let receipts = join_all((0..8).map(|_| subject.ingest(&content, plain()))).await;
        let mut claims: Vec<_> = receipts.iter().map(|receipt| receipt.claim).collect();
        claims.sort_unstable();
        claims.dedup();
        assert_eq!(claims.len(), 8, "each ingest has a claim of its own");
        assert_eq!(subject.contents().await, before + 1);
        subject.gives(&content, None).await;
        let newest = receipts.iter().max_by_key(|receipt| receipt.claim).unwrap();
        for receipt in receipts.iter().filter(|receipt| receipt.claim != newest.claim) {
            assert_eq!(subject.delete(receipt).await, Deletion::Superseded);
        }
        assert_eq!(subject.delete(newest).await, Deletion::Deleted);
        subject.keeps_only(before, newest.address).await;
    }
}

async fn an_ingest_is_never_lost(place: Box<dyn Place>) {
    let subject = place.open().await;
    for (len, rounds) in [(1000, 60), (1_200_000, 10)] {
        let content = noise(2, len);
        let mut known = subject.ingest(&content, plain()).await;
        for round in 0..rounds {
            let (receipt, deletion) = if round % 2 == 0 {
                futures::join!(subject.ingest(&content, plain()), subject.delete(&known))
            } else {
                let (deletion, receipt) = futures::join!(subject.delete(&known), subject.ingest(&content, plain()));
                (receipt, deletion)
            };
            assert!(receipt.claim > known.claim);
            assert_ne!(deletion, Deletion::Absent);
            subject.gives(&content, None).await;
            let listed = subject.inventory.contents(Owner::Objects, None, 10).await.unwrap();
            let stored = listed.iter().find(|stored| stored.address == receipt.address).unwrap();
            assert_eq!(stored.claim, receipt.claim);
            known = receipt;
        }
        assert_eq!(subject.delete(&known).await, Deletion::Deleted);
        subject.keeps_only(0, known.address).await;
    }
}

async fn reading_beside_deleting(place: Box<dyn Place>) {
    let subject = place.open().await;
    for (len, rounds) in [(1000, 40), (1_200_000, 8)] {
        for round in 0..rounds {
            let content = noise(round + 10, len);
            let receipt = subject.ingest(&content, plain()).await;
            let reads = join_all((0..4).map(|_| subject.try_read(receipt.address, None, None)));
            let (reads, deletion) = futures::join!(reads, subject.delete(&receipt));
            assert_eq!(deletion, Deletion::Deleted);
            for read in reads {
                match read {
                    Ok(read) => assert!(read == content),
                    Err(error) => assert_eq!(error, ServeError::Absent(receipt.address)),
                }
            }
        }
    }
}

async fn reclaiming_beside_work(place: Box<dyn Place>) {
    let subject = place.open().await;
    let kept: Vec<_> = (0..20).map(|seed| noise(500 + seed, 30_000)).collect();
    for content in &kept {
        subject.ingest(content, plain()).await;
    }
    let work = async {
        for seed in 0..60 {
            let passing = subject.ingest(&noise(seed, 60_000), plain()).await;
            subject.ingest(&noise(1000 + seed, 200), Hints::plain(Owner::Backups)).await;
            assert_eq!(subject.delete(&passing).await, Deletion::Deleted);
            let content = &kept[seed as usize % kept.len()];
            subject.gives(content, None).await;
            subject.gives(&noise(1000 + seed, 200), None).await;
        }
    };
    let reclaim = async {
        loop {
            subject.inventory.reclaim().await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = work => {}
        () = reclaim => {}
    }
    for content in &kept {
        subject.gives(content, None).await;
    }
    assert_eq!(subject.contents().await, 80);
}
