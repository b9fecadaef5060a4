//! Content that is encrypted is nobody's without the key.

use futures::StreamExt;

use super::{Fixture, Place, case, key, noise, plain, text};
use crate::{Address, Body, Compression, ContentKey, Deletion, Hints, KeyId, Serve, ServeError};

pub(super) async fn cases(fixture: &dyn Fixture) {
    case(fixture, "encrypted content needs its key", encrypted_content_needs_its_key).await;
    case(fixture, "what is encrypted stays so", what_is_encrypted_stays_so).await;
    case(fixture, "what is plain is encrypted when that is asked for", plain_becomes_encrypted).await;
}

/// Of an implementation that takes no keys.
pub(super) async fn refusal(fixture: &dyn Fixture) {
    case(fixture, "a key is refused where none is taken", |place| async move {
        let subject = place.open().await;
        for len in LENGTHS {
            let content = noise(1, len);
            assert!(subject.try_ingest(&content, sealed(1)).await.is_err());
            subject.keeps_only(0, Address::of(&content)).await;
        }
    })
    .await;
}

const LENGTHS: [usize; 3] = [1, 4096, 2_500_000];

fn sealed(id: u32) -> Hints {
    Hints { key: Some(key(id)), ..plain() }
}

async fn encrypted_content_needs_its_key(place: Box<dyn Place>) {
    for len in LENGTHS {
        let mut subject = place.open().await;
        let content = text(1, len);
        let hints = Hints { compression: Compression::Zstd, ..sealed(1) };
        let receipt = subject.ingest(&content, hints).await;
        assert_eq!(receipt.key, Some(KeyId(1)));
        let address = receipt.address;
        // Neither what was served before nor what is read anew comes without the key.
        for opened_anew in [false, true] {
            if opened_anew {
                drop(subject);
                subject = place.open().await;
            }
            subject.gives(&content, Some(key(1))).await;
            for wrong in [None, Some(key(2))] {
                let needed = ServeError::KeyNeeded(KeyId(1));
                assert_eq!(subject.try_read(address, None, wrong.clone()).await, Err(needed.clone()));
                assert_eq!(subject.try_read(address, Some(0..1), wrong.clone()).await, Err(needed.clone()));
                assert_eq!(subject.verify(address, wrong).await, Err(needed));
            }
            let forged = ContentKey::new(KeyId(1), [99; 32].into());
            let found = subject.try_read(address, None, Some(forged.clone())).await;
            assert!(matches!(found, Err(ServeError::Damaged { .. })), "{:?}", found.map(|bytes| bytes.len()));
            let found = subject.verify(address, Some(forged)).await;
            assert!(matches!(found, Err(ServeError::Damaged { .. })), "{found:?}");
            subject.gives(&content, Some(key(1))).await;
        }
    }
}

async fn what_is_encrypted_stays_so(place: Box<dyn Place>) {
    let subject = place.open().await;
    for len in LENGTHS {
        let content = noise(2, len);
        subject.ingest(&content, sealed(1)).await;
        for hints in [plain(), sealed(2), sealed(1)] {
            let receipt = subject.ingest(&content, hints).await;
            assert_eq!((receipt.known, receipt.key), (true, Some(KeyId(1))));
        }
        let receipt = subject.ingest(&content, plain()).await;
        assert_eq!(subject.try_read(receipt.address, None, None).await, Err(ServeError::KeyNeeded(KeyId(1))));
        subject.gives(&content, Some(key(1))).await;
        assert_eq!(subject.delete(&receipt).await, Deletion::Deleted);
        // Once it is gone, nothing is left of how it was kept.
        assert_eq!(subject.ingest(&content, plain()).await.key, None);
        subject.gives(&content, None).await;
    }
}

async fn plain_becomes_encrypted(place: Box<dyn Place>) {
    for len in LENGTHS {
        let subject = place.open().await;
        let content = noise(3, len);
        let first = subject.ingest(&content, plain()).await;
        let address = first.address;
        let served = subject.plane.serve_object(Serve { address, range: None, key: None }).await.unwrap();
        let second = subject.ingest(&content, sealed(1)).await;
        assert_eq!(second.key, Some(KeyId(1)));
        assert!(second.claim > first.claim);
        assert_eq!(subject.try_read(address, None, None).await, Err(ServeError::KeyNeeded(KeyId(1))));
        subject.gives(&content, Some(key(1))).await;
        // Who began to read it in plain goes on to the end.
        let mut read = Vec::new();
        match served.body {
            Body::Whole(bytes) => read.extend_from_slice(&bytes),
            Body::Stream(mut stream) => {
                while let Some(bytes) = stream.next().await {
                    read.extend_from_slice(&bytes.unwrap());
                }
            }
        }
        assert!(read == content);
        drop(subject);
        let subject = place.open().await;
        assert_eq!(subject.try_read(address, None, None).await, Err(ServeError::KeyNeeded(KeyId(1))));
        assert_eq!(subject.delete(&first).await, Deletion::Superseded);
        assert_eq!(subject.delete(&second).await, Deletion::Deleted);
        subject.keeps_only(0, address).await;
    }
}
