//! Content lives as long as anybody claims it.

use super::{Fixture, Place, case, noise, plain};
use crate::{Address, Claim, Delete, Deletion, Hints, Owner};

pub(super) async fn cases(fixture: &dyn Fixture) {
    case(fixture, "deleting is idempotent", deleting_is_idempotent).await;
    case(fixture, "a later ingest supersedes a deletion", a_later_ingest_supersedes).await;
    case(fixture, "owners do not delete one another's content", owners_are_apart).await;
    case(fixture, "claims outlive a reopening", claims_outlive_a_reopening).await;
}

const LENGTHS: [usize; 3] = [0, 4096, 2_500_000];

async fn deleting_is_idempotent(place: Box<dyn Place>) {
    let subject = place.open().await;
    for len in LENGTHS {
        let receipt = subject.ingest(&noise(1, len), plain()).await;
        assert_eq!(subject.delete(&receipt).await, Deletion::Deleted);
        assert_eq!(subject.delete(&receipt).await, Deletion::Absent);
        subject.keeps_only(0, receipt.address).await;
    }
    let never = Delete { owner: Owner::Objects, address: Address::of(b"never kept"), claim: Claim(u64::MAX) };
    assert_eq!(subject.plane.delete_object(never).await, Ok(Deletion::Absent));
}

async fn a_later_ingest_supersedes(place: Box<dyn Place>) {
    let subject = place.open().await;
    for len in LENGTHS {
        let content = noise(2, len);
        let first = subject.ingest(&content, plain()).await;
        let second = subject.ingest(&content, plain()).await;
        assert!(second.claim > first.claim, "{:?} should follow {:?}", second.claim, first.claim);
        assert_eq!(subject.delete(&first).await, Deletion::Superseded);
        subject.gives(&content, None).await;
        assert_eq!(subject.delete(&second).await, Deletion::Deleted);
        // Claims never come again: a deletion that arrives late must not take what was ingested after it.
        let third = subject.ingest(&content, plain()).await;
        assert!(third.claim > second.claim && !third.known);
        assert_eq!(subject.delete(&second).await, Deletion::Superseded);
        subject.gives(&content, None).await;
        assert_eq!(subject.delete(&third).await, Deletion::Deleted);
    }
    assert_eq!(subject.contents().await, 0);
}

async fn owners_are_apart(place: Box<dyn Place>) {
    let subject = place.open().await;
    for len in LENGTHS {
        let content = noise(3, len);
        let object = subject.ingest(&content, plain()).await;
        let backup = subject.ingest(&content, Hints::plain(Owner::Backups)).await;
        let stranger = Delete { owner: Owner::Artifacts, address: object.address, claim: Claim(u64::MAX) };
        assert_eq!(subject.plane.delete_object(stranger).await, Ok(Deletion::Absent));
        // Another owner's ingest is no later one of this owner's.
        assert_eq!(subject.delete(&object).await, Deletion::Deleted);
        assert_eq!(subject.delete(&object).await, Deletion::Absent);
        subject.gives(&content, None).await;
        assert_eq!(subject.delete_for(Owner::Backups, &backup).await, Deletion::Deleted);
        subject.keeps_only(0, object.address).await;
    }
}

async fn claims_outlive_a_reopening(place: Box<dyn Place>) {
    let contents = LENGTHS.map(|len| noise(4, len));
    let gone = noise(5, 3000);
    let mut first = Vec::new();
    let before = place.open().await;
    for content in &contents {
        before.ingest(content, Hints::plain(Owner::Backups)).await;
        first.push(before.ingest(content, plain()).await);
    }
    let deleted = before.ingest(&gone, plain()).await;
    assert_eq!(before.delete(&deleted).await, Deletion::Deleted);
    drop(before);

    let subject = place.open().await;
    subject.keeps_only(contents.len() as u64, deleted.address).await;
    let again = subject.ingest(&gone, plain()).await;
    assert!(again.claim > deleted.claim);
    assert_eq!(subject.delete(&deleted).await, Deletion::Superseded);
    for (content, first) in contents.iter().zip(first) {
        let second = subject.ingest(content, plain()).await;
        assert!(second.known && second.claim > first.claim);
        assert_eq!(subject.delete(&first).await, Deletion::Superseded);
        assert_eq!(subject.delete(&second).await, Deletion::Deleted);
        // It is a backup still.
        subject.gives(content, None).await;
    }
}
