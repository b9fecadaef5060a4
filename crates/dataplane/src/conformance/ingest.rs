//! Content goes in whole, or not at all.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};

use super::{Fixture, Place, Subject, case, eventually, key, noise, plain, source, text};
use crate::{Address, Compression, Expect, Hints, IngestError, Md5, Measure, Owner, Sha256, Source, SourceError};

/// Around the edges of everything that implementations cut content by.
const LENGTHS: [usize; 17] = [
    0, 1, 2, 1000, 4096, 65_535, 65_536, 65_537, 131_072, 131_073, 262_143, 262_144, 262_145, 1_048_575, 1_048_577,
    2_097_152, 9_000_001,
];

pub(super) async fn cases(fixture: &dyn Fixture) {
    case(fixture, "content of every length comes back", |place| {
        content_of_every_length_comes_back(place, forms(fixture))
    })
    .await;
    case(fixture, "a receipt tells the digests", a_receipt_tells_the_digests).await;
    case(fixture, "identical content is kept once", identical_content_is_kept_once).await;
    case(fixture, "what was said before must be true", what_was_said_before_must_be_true).await;
    case(fixture, "a source that breaks off leaves nothing", a_source_that_breaks_off_leaves_nothing).await;
    case(fixture, "an ingest that is dropped leaves nothing", an_ingest_that_is_dropped_leaves_nothing).await;
    case(fixture, "what was kept is there after reopening", |place| async move {
        let forms = forms(fixture);
        let before = place.open().await;
        for hints in &forms {
            before.ingest(&content_for(hints), hints.clone()).await;
        }
        drop(before);
        let after = place.open().await;
        for hints in forms {
            let content = content_for(&hints);
            after.gives(&content, hints.key.clone()).await;
            assert!(after.ingest(&content, hints).await.known);
        }
    })
    .await;
}

fn forms(fixture: &dyn Fixture) -> Vec<Hints> {
    let compression = [Compression::None, Compression::Zstd];
    let keys: Vec<_> = [None].into_iter().chain(fixture.takes_keys().then(|| Some(key(1)))).collect();
    let pairs =
        compression.into_iter().flat_map(|compression| keys.clone().into_iter().map(move |key| (compression, key)));
    pairs.map(|(compression, key)| Hints { compression, key, ..plain() }).collect()
}

fn content_for(hints: &Hints) -> Bytes {
    text(hints.compression as u64 * 2 + u64::from(hints.key.is_some()), 700_000)
}

async fn content_of_every_length_comes_back(place: Box<dyn Place>, forms: Vec<Hints>) {
    let subject = &place.open().await;
    let mut kept = BTreeSet::new();
    for (form, hints) in (0..).zip(forms) {
        for len in LENGTHS {
            // Content of each form differs, or it would be known from the one before.
            let content = if form % 2 == 0 { noise(form + 10, len) } else { text(form + 10, len) };
            let receipt = subject.ingest(&content, hints.clone()).await;
            kept.insert(receipt.address);
            // A key that is not needed does no harm.
            subject.gives(&content, Some(key(1))).await;
            let verified = subject.verify(receipt.address, Some(key(1))).await.unwrap();
            assert_eq!(verified.size, len as u64);
            assert_eq!(receipt.md5, None);
        }
    }
    assert_eq!(subject.contents().await, kept.len() as u64);
}

async fn a_receipt_tells_the_digests(place: Box<dyn Place>) {
    let subject = &place.open().await;
    let content = Bytes::from_static(b"abc");
    let receipt = subject.ingest(&content, Hints { md5: true, ..plain() }).await;
    assert_eq!(receipt.address.to_string(), "blake3:6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85");
    assert_eq!(receipt.sha256, ABC_SHA256);
    assert_eq!(receipt.md5, Some(ABC_MD5));
    assert_eq!((receipt.known, receipt.key), (false, None));
    // What is known already is digested all the same: the stream is not the content until it has been read.
    let again = subject.ingest(&content, Hints { md5: true, ..plain() }).await;
    assert_eq!((again.sha256, again.md5, again.known), (ABC_SHA256, Some(ABC_MD5), true));
    let million = Bytes::from(vec![b'a'; 1_000_000]);
    let receipt = subject.ingest(&million, Hints { md5: true, ..plain() }).await;
    assert_eq!(receipt.md5.unwrap().to_string(), "7707d6ae4e027c70eea2a935c2296f21");
    assert_eq!(receipt.sha256.to_string(), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

/// FIPS 180-4 and RFC 1321 of `abc`.
const ABC_SHA256: Sha256 = Sha256([
    0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40, 0xde, 0x5d, 0xae, 0x22, 0x23, 0xb0, 0x03, 0x61,
    0xa3, 0x96, 0x17, 0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad,
]);
const ABC_MD5: Md5 =
    Md5([0x90, 0x01, 0x50, 0x98, 0x3c, 0xd2, 0x4f, 0xb0, 0xd6, 0x96, 0x3f, 0x7d, 0x28, 0xe1, 0x7f, 0x72]);

async fn identical_content_is_kept_once(place: Box<dyn Place>) {
    let subject = &place.open().await;
    for len in [0, 5000, 3_000_000] {
        let content = noise(3, len);
        let before = subject.contents().await;
        let first = subject.ingest(&content, plain()).await;
        let second = subject.ingest(&content, Hints { compression: Compression::Zstd, ..plain() }).await;
        let third = subject.ingest(&content, Hints::plain(Owner::Backups)).await;
        assert_eq!([first.known, second.known, third.known], [false, true, true]);
        assert_eq!(first.sha256, third.sha256);
        assert_eq!(subject.contents().await, before + 1);
    }
}

async fn what_was_said_before_must_be_true(place: Box<dyn Place>) {
    let subject = &place.open().await;
    for len in [3, 300_000, 3_000_000] {
        let content = noise(4, len);
        let size = len as u64;
        let wrong = [
            (Expect { size: Some(size + 1), ..Expect::default() }, Measure::Size),
            (Expect { size: Some(size - 1), ..Expect::default() }, Measure::Size),
            (Expect { size: Some(0), ..Expect::default() }, Measure::Size),
            (Expect { size: Some(u64::MAX), ..Expect::default() }, Measure::Size),
            (Expect { size: Some(size), sha256: Some(ABC_SHA256), ..Expect::default() }, Measure::Sha256),
            (Expect { md5: Some(ABC_MD5), ..Expect::default() }, Measure::Md5),
        ];
        let before = subject.contents().await;
        for (expect, measure) in &wrong {
            refused(subject, &content, expect, *measure).await;
            subject.keeps_only(before, Address::of(&content)).await;
        }
        // What is refused claims nothing either.
        let receipt = subject.ingest(&content, plain()).await;
        for (expect, measure) in &wrong {
            refused(subject, &content, expect, *measure).await;
        }
        assert_eq!(subject.delete(&receipt).await, crate::Deletion::Deleted);
        subject.keeps_only(before, receipt.address).await;
        let expect = Expect { size: Some(size), sha256: Some(receipt.sha256), md5: None };
        subject.ingest(&content, Hints { expect, ..plain() }).await;
    }
    let abc = Bytes::from_static(b"abc");
    let expect = Expect { size: Some(3), sha256: Some(ABC_SHA256), md5: Some(ABC_MD5) };
    let receipt = subject.ingest(&abc, Hints { expect, ..plain() }).await;
    assert_eq!(receipt.md5, None, "it was expected, but not asked for");
}

async fn refused(subject: &Subject, content: &Bytes, expect: &Expect, measure: Measure) {
    let hints = Hints { expect: expect.clone(), ..plain() };
    match subject.try_ingest(content, hints).await {
        Err(IngestError::Mismatch(found)) => assert_eq!(found, measure, "{expect:?}"),
        other => panic!("{expect:?} of {} bytes gave {other:?}", content.len()),
    }
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the client has hung up after {0} bytes")]
struct HungUp(usize);

async fn a_source_that_breaks_off_leaves_nothing(place: Box<dyn Place>) {
    let subject = &place.open().await;
    for len in [0, 3000, 400_000, 5_000_000] {
        let content = noise(5, len);
        let broken: Source = Box::pin(source(&content).chain(stream::iter([Err(SourceError::from(HungUp(len)))])));
        match subject.plane.ingest_stream(broken, plain()).await {
            Err(IngestError::Source(error)) => assert_eq!(error.downcast_ref(), Some(&HungUp(len))),
            other => panic!("a source that broke off after {len} bytes gave {other:?}"),
        }
        subject.keeps_only(0, Address::of(&content)).await;
    }
}

/// Gives what it has, then nothing any more, and tells of both.
struct Stalling {
    source: Source,
    stalled: Arc<AtomicBool>,
    _dropped: SetOnDrop,
}

struct SetOnDrop(Arc<AtomicBool>);

impl Stream for Stalling {
    type Item = Result<Bytes, SourceError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.source.poll_next_unpin(context);
        if let Poll::Ready(None) = next {
            self.stalled.store(true, Ordering::Release);
            return Poll::Pending;
        }
        next
    }
}

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

async fn an_ingest_that_is_dropped_leaves_nothing(place: Box<dyn Place>) {
    let subject = &place.open().await;
    for len in [0, 3000, 400_000, 5_000_000] {
        let content = noise(6, len);
        let stalled = Arc::new(AtomicBool::new(false));
        let dropped = Arc::new(AtomicBool::new(false));
        let stalling =
            Stalling { source: source(&content), stalled: stalled.clone(), _dropped: SetOnDrop(dropped.clone()) };
        let ingest = subject.plane.ingest_stream(Box::pin(stalling), plain());
        let at_the_stall = eventually("all has been read", || async { stalled.load(Ordering::Acquire) });
        tokio::select! {
            receipt = ingest => panic!("a source without an end gave {receipt:?}"),
            () = at_the_stall => {}
        }
        eventually("the source is dropped", || async { dropped.load(Ordering::Acquire) }).await;
        subject.keeps_only(0, Address::of(&content)).await;
    }
    // It is no worse for it.
    let content = noise(6, 5_000_000);
    subject.ingest(&content, plain()).await;
    subject.gives(&content, None).await;
}
