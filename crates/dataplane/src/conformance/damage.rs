//! Other bytes than those that were stored are never served.

use bytes::Bytes;
use futures::StreamExt;

use super::{Fixture, Place, Subject, case, key, noise, plain, text};
use crate::{Address, Body, Compression, Deletion, Hints, Serve, ServeError};

pub(super) async fn cases(fixture: &dyn Fixture) {
    for (hints, compressible) in [
        (plain(), false),
        (Hints { key: Some(key(1)), ..plain() }, false),
        (Hints { compression: Compression::Zstd, ..plain() }, true),
        (Hints { compression: Compression::Zstd, key: Some(key(1)), ..plain() }, true),
    ] {
        if hints.key.is_some() && !fixture.takes_keys() {
            continue;
        }
        for len in [1, 4096, 200_000, 3_000_000] {
            case(fixture, "damage is found", |place| damage_is_found(place, hints.clone(), compressible, len)).await;
        }
    }
}

async fn damage_is_found(place: Box<dyn Place>, hints: Hints, compressible: bool, len: usize) {
    let make = if compressible { text } else { noise };
    // The first byte, one in the middle and one near the end, of a content each.
    let bytes = [0, len as u64 / 2, (len as u64).saturating_sub(1)];
    let contents: Vec<Bytes> = (0..3).map(|seed| make(seed, len)).collect();
    let whole = make(3, len);
    let subject = place.open().await;
    let mut receipts = Vec::new();
    for content in &contents {
        receipts.push(subject.ingest(content, hints.clone()).await);
    }
    subject.ingest(&whole, hints.clone()).await;
    drop(subject);
    for (receipt, byte) in receipts.iter().zip(bytes) {
        place.damage(receipt.address, byte).await;
    }
    let subject = place.open().await;
    for (content, receipt) in contents.iter().zip(&receipts) {
        is_damaged(&subject, content, &hints).await;
        assert!(matches!(subject.delete(receipt).await, Deletion::Deleted), "what is damaged can be deleted");
    }
    subject.gives(&whole, hints.key.clone()).await;
    assert!(subject.verify(Address::of(&whole), hints.key.clone()).await.is_ok());
}

async fn is_damaged(subject: &Subject, content: &Bytes, hints: &Hints) {
    let address = Address::of(content);
    let damaged = |error: &ServeError| matches!(error, ServeError::Damaged { address: named, .. } if *named == address);
    let found = subject.verify(address, hints.key.clone()).await;
    assert!(found.as_ref().is_err_and(damaged), "{found:?}");

    let request = Serve { address, range: None, key: hints.key.clone() };
    let mut read = Vec::new();
    let end = match subject.plane.serve_object(request).await {
        Err(error) => Err(error),
        Ok(served) => match served.body {
            Body::Whole(bytes) => {
                read.extend_from_slice(&bytes);
                Ok(())
            }
            Body::Stream(mut stream) => loop {
                match stream.next().await {
                    Some(Ok(bytes)) => read.extend_from_slice(&bytes),
                    Some(Err(error)) => break Err(error),
                    None => break Ok(()),
                }
            },
        },
    };
    assert!(content.starts_with(&read), "only bytes that were stored are served");
    assert!(end.as_ref().is_err_and(damaged), "{end:?} after {} bytes", read.len());
}
