//! Content comes out as it went in, or any part of it.

use futures::StreamExt;

use super::{Fixture, Place, case, key, noise, plain, text};
use crate::{Address, Body, Compression, ContentKey, Deletion, Hints, Serve, ServeError};

pub(super) async fn cases(fixture: &dyn Fixture) {
    let key = fixture.takes_keys().then(|| key(1));
    case(fixture, "every range is served", |place| every_range_is_served(place, key)).await;
    case(fixture, "ranges outside are refused", ranges_outside_are_refused).await;
    case(fixture, "what is not there is absent", |place| async move {
        let subject = place.open().await;
        subject.keeps_only(0, Address::of(b"nothing of the kind")).await;
        subject.ingest(&noise(1, 100), plain()).await;
        subject.keeps_only(1, Address::of(b"nothing of the kind")).await;
    })
    .await;
    case(fixture, "a stream that is being served outlives its content", a_stream_outlives_its_content).await;
    case(fixture, "a stream that nobody reads to its end holds nothing up", nobody_reads_to_the_end).await;
}

async fn every_range_is_served(place: Box<dyn Place>, key: Option<ContentKey>) {
    let subject = &place.open().await;
    let forms =
        [Hints { compression: Compression::None, ..plain() }, Hints { compression: Compression::Zstd, key, ..plain() }];
    for (form, hints) in (0..).zip(forms) {
        for len in [1u64, 5000, 65_537, 300_000, 3_000_000] {
            let content = text(form, len as usize);
            let receipt = subject.ingest(&content, hints.clone()).await;
            // Half of these lie around the edges of groups and pieces; what is outside of small content is left out.
            let edges = [0, 1, 4095, 65_535, 65_536, 65_537, 131_071, 262_144, 262_145, 999_999, len / 2, len - 1, len];
            for start in edges {
                for end in edges.into_iter().chain([start + 1, start + 70_000]) {
                    if start <= end && end <= len {
                        let request = Some(start..end);
                        let read = subject.try_read(receipt.address, request, hints.key.clone()).await.unwrap();
                        assert!(read == content[start as usize..end as usize], "{start}..{end} of {len}");
                    }
                }
            }
            let request = Serve { address: receipt.address, range: Some(0..1), key: hints.key.clone() };
            assert_eq!(subject.plane.serve_object(request).await.unwrap().size, len, "the size is the whole's");
        }
    }
}

async fn ranges_outside_are_refused(place: Box<dyn Place>) {
    let subject = &place.open().await;
    for size in [0, 100, 2_000_000] {
        let content = noise(2, size as usize);
        let address = subject.ingest(&content, plain()).await.address;
        #[allow(clippy::reversed_empty_ranges, reason = "that is what is refused")]
        let outside = [0..size + 1, size + 1..size + 1, size + 1..u64::MAX, 0..u64::MAX, u64::MAX..0, 1..0];
        for range in outside {
            let found = subject.try_read(address, Some(range.clone()), None).await;
            assert_eq!(found, Err(ServeError::RangeOutside { size }), "{range:?}");
        }
        for empty in [0, size / 2, size] {
            assert_eq!(subject.try_read(address, Some(empty..empty), None).await, Ok(Vec::new()));
        }
    }
}

async fn a_stream_outlives_its_content(place: Box<dyn Place>) {
    let subject = &place.open().await;
    for hints in [plain(), Hints { compression: Compression::Zstd, ..plain() }] {
        let content = noise(3, 12_000_000);
        let receipt = subject.ingest(&content, hints).await;
        let request = Serve { address: receipt.address, range: None, key: None };
        let served = subject.plane.serve_object(request).await.unwrap();
        assert_eq!(subject.delete(&receipt).await, Deletion::Deleted);
        subject.keeps_only(0, receipt.address).await;
        subject.inventory.reclaim().await.unwrap();
        let Body::Stream(mut stream) = served.body else { panic!("12 MB should be a stream") };
        let mut read = Vec::new();
        while let Some(bytes) = stream.next().await {
            read.extend_from_slice(&bytes.unwrap());
        }
        assert!(read == content);
    }
}

async fn nobody_reads_to_the_end(place: Box<dyn Place>) {
    let subject = &place.open().await;
    let content = noise(4, 12_000_000);
    let address = subject.ingest(&content, plain()).await.address;
    let mut abandoned = Vec::new();
    for round in 0..40 {
        let served = subject.plane.serve_object(Serve { address, range: None, key: None }).await.unwrap();
        let Body::Stream(mut stream) = served.body else { panic!("12 MB should be a stream") };
        let first = stream.next().await.unwrap().unwrap();
        assert!(first == content[..first.len()]);
        // Half are kept open, half are dropped where they are.
        if round % 2 == 0 {
            abandoned.push(stream);
        }
    }
    subject.gives(&content, None).await;
    subject.ingest(&noise(5, 2_000_000), plain()).await;
}
