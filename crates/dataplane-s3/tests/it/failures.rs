//! A store that stalls, resets, refuses and lies.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{StreamExt, stream};
use hyper::Method;
use mainstay_dataplane::{
    Address, Body, Claim, DataPlane, Delete, Deletion, Hints, IngestError, Inventory, Owner, Receipt, Serve,
    ServeError, Source, Trouble, Verify,
};
use mainstay_dataplane_s3::{OpenError, S3Config, S3Plane};

use crate::fake::{Fake, Fault};

/// Within its record, and in data of its own: three segments.
const LENGTHS: [usize; 2] = [100_000, 9_000_000];

/// Three attempts of 300 ms and the pauses between them, once for the operation and once for what it cleans up.
const BOUND: Duration = Duration::from_secs(5);

fn content(len: usize) -> Bytes {
    (0..len).map(|at| (at / 7 + at / 251) as u8).collect::<Vec<u8>>().into()
}

fn source(content: &Bytes) -> Source {
    let chunks: Vec<_> = content.chunks(70_000).map(|chunk| Ok(content.slice_ref(chunk))).collect();
    Box::pin(stream::iter(chunks))
}

async fn ingest(plane: &S3Plane, content: &Bytes) -> Result<Receipt, IngestError> {
    plane.ingest_stream(source(content), Hints::plain(Owner::Objects)).await
}

async fn read(plane: &S3Plane, content: &Bytes) -> Result<Vec<u8>, ServeError> {
    let request = Serve { address: Address::of(content), range: None, key: None };
    let mut read = Vec::new();
    match plane.serve_object(request).await?.body {
        Body::Whole(bytes) => read.extend_from_slice(&bytes),
        Body::Stream(mut stream) => {
            while let Some(bytes) = stream.next().await {
                read.extend_from_slice(&bytes?);
                assert!(content.starts_with(&read), "only what was stored is served");
            }
        }
    }
    assert!(read == *content);
    Ok(read)
}

async fn delete(plane: &S3Plane, receipt: &Receipt) -> Deletion {
    let request = Delete { owner: Owner::Objects, address: receipt.address, claim: receipt.claim };
    plane.delete_object(request).await.unwrap()
}

fn unavailable(trouble: &Trouble) -> bool {
    matches!(trouble, Trouble::Unavailable { .. })
}

/// The first requests of some kind fail.
fn first(
    count: usize,
    method: Method,
    prefix: &'static str,
    fault: Fault,
) -> impl FnMut(&Method, &str) -> Fault + Send {
    let mut left = count;
    move |asked, key| {
        if *asked == method && key.starts_with(prefix) && left > 0 {
            left -= 1;
            return fault.clone();
        }
        Fault::None
    }
}

#[tokio::test]
async fn what_passes_is_not_noticed() {
    for fault in [
        Fault::Stall,
        Fault::LoseAnswer,
        Fault::Answer(500, "InternalError"),
        Fault::Answer(503, "SlowDown"),
        Fault::BreakOff(10),
    ] {
        for honours_conditions in [true, false] {
            for (len, method, prefix) in [
                (LENGTHS[0], Method::PUT, "contents/"),
                (LENGTHS[0], Method::GET, "contents/"),
                (LENGTHS[1], Method::PUT, "contents/"),
                (LENGTHS[1], Method::PUT, "intents/"),
                (LENGTHS[1], Method::PUT, "data/"),
                (LENGTHS[1], Method::GET, "data/"),
            ] {
                let fake = Fake::start(honours_conditions).await;
                let plane = fake.open().await;
                assert_eq!(plane.honours_conditions(), honours_conditions);
                fake.script(first(1, method.clone(), prefix, fault.clone()));
                let content = content(len);
                let what = format!("{fault:?} at {method} {prefix} of {len} bytes");
                let receipt = ingest(&plane, &content).await.unwrap_or_else(|error| panic!("{what}: {error}"));
                read(&plane, &content).await.unwrap_or_else(|error| panic!("{what}: {error}"));
                plane.verify_object(Verify { address: receipt.address, key: None }).await.unwrap();
                assert_eq!(delete(&plane, &receipt).await, Deletion::Deleted, "{what}");
                plane.reclaim().await.unwrap();
                assert_eq!(fake.keys("contents/").len() + fake.keys("data/").len(), 0, "{what}: {:?}", fake.keys(""));
            }
        }
    }
}

#[tokio::test]
async fn a_store_that_stalls_is_waited_for_so_long() {
    for len in LENGTHS {
        let fake = Fake::start(true).await;
        let plane = fake.open().await;
        let content = content(len);
        let receipt = ingest(&plane, &content).await.unwrap();
        drop(plane);
        let plane = fake.open().await;
        fake.script(|_, _| Fault::Stall);
        let begun = Instant::now();
        let other = content.slice(1..);
        assert!(matches!(ingest(&plane, &other).await, Err(IngestError::Trouble(trouble)) if unavailable(&trouble)));
        assert!(matches!(read(&plane, &content).await, Err(ServeError::Trouble(trouble)) if unavailable(&trouble)));
        let request = Delete { owner: Owner::Objects, address: receipt.address, claim: receipt.claim };
        assert!(plane.delete_object(request).await.is_err());
        assert!(plane.contents(Owner::Objects, None, 10).await.is_err());
        assert!(plane.reclaim().await.is_err());
        let trouble = plane.backend_health().await.trouble.unwrap();
        assert!(trouble.contains("no answer within 0.3 s"), "{trouble}");
        assert!(begun.elapsed() < 5 * BOUND, "{:?}", begun.elapsed());
        // It is back, and so is everything.
        fake.script(|_, _| Fault::None);
        read(&plane, &content).await.unwrap();
        assert_eq!(plane.backend_health().await.trouble, None);
        assert_eq!(delete(&plane, &receipt).await, Deletion::Deleted);
    }
}

#[tokio::test]
async fn a_stream_survives_a_store_that_breaks_off() {
    let fake = Fake::start(false).await;
    let plane = fake.open().await;
    let content = content(LENGTHS[1]);
    ingest(&plane, &content).await.unwrap();
    // Two reads of data break off half-way.
    let mut reads = 0;
    fake.script(move |method, key| {
        reads += usize::from(*method == Method::GET && key.starts_with("data/"));
        if matches!(reads, 3 | 6) && key.starts_with("data/") { Fault::BreakOff(300_000) } else { Fault::None }
    });
    read(&plane, &content).await.unwrap();
    // In the middle of the stream the store goes away for good: what was right so far was served, and then an error.
    let mut reads = 0;
    fake.script(move |_, key| {
        reads += usize::from(key.starts_with("data/") && !key.ends_with("header"));
        if reads > 4 { Fault::Answer(503, "ServiceUnavailable") } else { Fault::None }
    });
    assert!(matches!(read(&plane, &content).await, Err(ServeError::Trouble(trouble)) if unavailable(&trouble)));
}

#[tokio::test]
async fn what_is_damaged_is_never_served() {
    for len in LENGTHS {
        let fake = Fake::start(true).await;
        let plane = fake.open().await;
        let content = content(len);
        let address = Address::of(&content);
        ingest(&plane, &content).await.unwrap();
        // On its way, once: it is read again.
        let prefix = if len == LENGTHS[0] { "nothing/" } else { "data/" };
        fake.script(first(1, Method::GET, prefix, Fault::Flip));
        read(&plane, &content).await.unwrap();
        // Where it lies, for all that can be known.
        fake.script(|method, key| {
            let data = *method == Method::GET && (key.starts_with("data/") || key.starts_with("contents/"));
            if data { Fault::Flip } else { Fault::None }
        });
        let damaged =
            |error: &ServeError| matches!(error, ServeError::Damaged { address: named, .. } if *named == address);
        assert!(read(&plane, &content).await.is_err_and(|error| damaged(&error)));
        let verified = plane.verify_object(Verify { address, key: None }).await;
        assert!(verified.as_ref().is_err_and(damaged), "{verified:?}");
    }
}

#[tokio::test]
async fn data_that_the_store_has_lost_is_named_and_repaired() {
    for lost in ["/00000001", "/00000002", "/header"] {
        let fake = Fake::start(false).await;
        let plane = fake.open().await;
        let content = content(LENGTHS[1]);
        let address = Address::of(&content);
        ingest(&plane, &content).await.unwrap();
        drop(plane);
        let key = fake.keys("data/").into_iter().find(|key| key.ends_with(lost)).unwrap();
        if lost == "/00000002" {
            fake.change(&key, |object| object.truncate(100));
        } else {
            fake.remove(&key);
        }
        let plane = fake.open().await;
        let verified = plane.verify_object(Verify { address, key: None }).await;
        assert!(matches!(verified, Err(ServeError::Damaged { .. })), "{lost}: {verified:?}");
        assert!(matches!(read(&plane, &content).await, Err(ServeError::Damaged { .. })), "{lost}");
        // The same content, ingested again, is whole.
        ingest(&plane, &content).await.unwrap();
        read(&plane, &content).await.unwrap();
        plane.verify_object(Verify { address, key: None }).await.unwrap();
        plane.reclaim().await.unwrap();
        assert_eq!((fake.keys("data/").len(), fake.keys("contents/").len()), (4, 1));
    }
}

#[tokio::test]
async fn a_full_store_says_so_and_works_again() {
    for len in LENGTHS {
        let fake = Fake::start(true).await;
        let plane = fake.open().await;
        let kept = content(len);
        let receipt = ingest(&plane, &kept).await.unwrap();
        let puts = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&puts);
        fake.script(move |method, _| {
            if *method != Method::PUT {
                return Fault::None;
            }
            counted.fetch_add(1, Ordering::Relaxed);
            Fault::Answer(507, "XMinioStorageFull")
        });
        let other = kept.slice(1..);
        let refused = ingest(&plane, &other).await;
        assert!(matches!(refused, Err(IngestError::Trouble(Trouble::Full { .. }))), "{refused:?}");
        assert_eq!(puts.load(Ordering::Relaxed), 1, "a full store is not asked again");
        read(&plane, &kept).await.unwrap();
        assert_eq!(delete(&plane, &receipt).await, Deletion::Deleted, "deleting is always possible");
        assert_eq!(fake.keys("data/").len() + fake.keys("contents/").len(), 0);
        fake.script(|_, _| Fault::None);
        ingest(&plane, &other).await.unwrap();
        read(&plane, &other).await.unwrap();
    }
}

#[tokio::test]
async fn what_fails_half_way_leaves_nothing() {
    for prefix in ["data/", "contents/"] {
        let fake = Fake::start(true).await;
        let plane = fake.open().await;
        fake.script(move |method, key| {
            let fails = *method == Method::PUT && key.starts_with(prefix) && !key.ends_with("/00000000");
            if fails { Fault::Answer(403, "AccessDenied") } else { Fault::None }
        });
        let content = content(LENGTHS[1]);
        let refused = ingest(&plane, &content).await;
        assert!(matches!(&refused, Err(IngestError::Trouble(trouble)) if unavailable(trouble)), "{refused:?}");
        assert!(refused.unwrap_err().to_string().contains("AccessDenied"));
        assert_eq!(read(&plane, &content).await, Err(ServeError::Absent(Address::of(&content))));
        assert_eq!((fake.keys("data/"), fake.keys("contents/")), (vec![], vec![]), "{prefix}");
        assert_eq!(plane.backend_health().await.contents, 0);
    }
}

#[tokio::test]
async fn a_record_whose_fate_is_unknown_keeps_its_data() {
    // The record is written, but no answer ever says so.
    let fake = Fake::start(false).await;
    let plane = fake.open().await;
    fake.script(
        |method, key| {
            if *method == Method::PUT && key.starts_with("contents/") { Fault::LoseAnswer } else { Fault::None }
        },
    );
    let content = content(LENGTHS[1]);
    assert!(ingest(&plane, &content).await.is_err());
    fake.script(|_, _| Fault::None);
    plane.reclaim().await.unwrap();
    read(&plane, &content).await.unwrap();
    let listed = plane.contents(Owner::Objects, None, 10).await.unwrap();
    assert_eq!(listed.len(), 1, "whoever sweeps finds it");
    let request = Delete { owner: Owner::Objects, address: Address::of(&content), claim: listed[0].claim };
    assert_eq!(plane.delete_object(request).await, Ok(Deletion::Deleted));
    plane.reclaim().await.unwrap();
    assert_eq!(fake.keys("data/").len() + fake.keys("contents/").len(), 0);
}

/// The record is written, no answer says so, and the attempt after it is turned down.
#[tokio::test]
async fn a_refusal_says_nothing_of_the_attempts_before_it() {
    for (status, code) in [(507, "XMinioStorageFull"), (403, "AccessDenied")] {
        let fake = Fake::start(false).await;
        let plane = fake.open().await;
        let mut attempts = 0;
        fake.script(move |method, key| {
            if *method != Method::PUT || !key.starts_with("contents/") {
                return Fault::None;
            }
            attempts += 1;
            if attempts == 1 { Fault::LoseAnswer } else { Fault::Answer(status, code) }
        });
        let content = content(LENGTHS[1]);
        assert!(ingest(&plane, &content).await.is_err());
        fake.script(|_, _| Fault::None);
        plane.reclaim().await.unwrap();
        assert!(read(&plane, &content).await.unwrap() == content, "{code}: what a record names is there");
    }
}

#[tokio::test]
async fn two_writers_do_not_undo_each_other_where_conditions_are_honoured() {
    let fake = Fake::start(true).await;
    let (one, two) = (fake.open().await, fake.open().await);
    for len in LENGTHS {
        let content = content(len);
        let mut last = Claim(0);
        for _ in 0..5 {
            let (first, second) = futures::join!(ingest(&one, &content), ingest(&two, &content));
            let (first, second) = (first.unwrap().claim, second.unwrap().claim);
            assert!(first != second && first.min(second) > last, "{first:?} {second:?} after {last:?}");
            last = first.max(second);
        }
        let request = Delete { owner: Owner::Objects, address: Address::of(&content), claim: Claim(last.0 - 1) };
        assert_eq!(one.delete_object(request).await, Ok(Deletion::Superseded));
    }
}

#[tokio::test]
async fn an_unreadable_record_is_replaced_for_everybody() {
    let fake = Fake::start(true).await;
    let plane = fake.open().await;
    let content = content(1000);
    let key = format!("contents/{}", Address::of(&content).digest());
    ingest(&plane, &content).await.unwrap();
    fake.change(&key, |record| record[100] ^= 4);
    assert!(matches!(read(&plane, &content).await, Err(ServeError::Damaged { .. })));
    assert_eq!(plane.contents(Owner::Objects, None, 10).await.unwrap(), vec![], "a listing goes on");
    let receipt = ingest(&plane, &content).await.unwrap();
    read(&plane, &content).await.unwrap();
    // Whose it was is not known any more, so that it may be anybody's.
    for owner in [Owner::Artifacts, Owner::Backups, Owner::Objects] {
        read(&plane, &content).await.unwrap();
        assert_eq!(plane.contents(owner, None, 10).await.unwrap().len(), 1);
        let request = Delete { owner, address: receipt.address, claim: receipt.claim };
        assert_eq!(plane.delete_object(request).await, Ok(Deletion::Deleted));
    }
    assert_eq!(fake.keys("contents/"), Vec::<String>::new());
}

#[tokio::test]
async fn a_store_that_cannot_be_used_is_refused_with_the_reason() {
    let fake = Fake::start(true).await;
    let open = async |config: S3Config| match S3Plane::open(config).await {
        Ok(_) => panic!("it should be refused"),
        Err(error) => {
            let text = format!("{error} {error:?}");
            assert!(!text.contains("a-secret-nobody-may-see"), "{text}");
            error
        }
    };
    fake.script(|_, _| Fault::Answer(403, "SignatureDoesNotMatch"));
    let error = open(fake.config()).await;
    assert!(matches!(&error, OpenError::Denied { .. }), "{error:?}");
    assert!(error.to_string().contains("SignatureDoesNotMatch"), "{error}");
    fake.script(|_, _| Fault::Answer(404, "NoSuchBucket"));
    assert!(matches!(open(fake.config()).await, OpenError::NoBucket { .. }));
    fake.script(|_, _| Fault::Answer(503, "ServiceUnavailable"));
    assert!(matches!(open(fake.config()).await, OpenError::Trouble { .. }));
    let nobody = S3Config { endpoint: "http://127.0.0.1:1".into(), ..fake.config() };
    assert!(matches!(open(nobody).await, OpenError::Trouble { .. }));
    for endpoint in ["", "127.0.0.1:3900", "ftp://127.0.0.1", "http://"] {
        let config = S3Config { endpoint: endpoint.into(), ..fake.config() };
        assert!(matches!(open(config).await, OpenError::Endpoint { .. }), "{endpoint:?}");
    }
    assert!(!format!("{:?}", fake.config()).contains("a-secret-nobody-may-see"));
}

#[tokio::test]
async fn a_reader_that_pauses_holds_nothing_up() {
    let fake = Fake::start(true).await;
    let plane = fake.open().await;
    let content = content(LENGTHS[1]);
    let receipt = ingest(&plane, &content).await.unwrap();
    let request = Serve { address: receipt.address, range: None, key: None };
    let Body::Stream(mut stream) = plane.serve_object(request).await.unwrap().body else { panic!("it is large") };
    let mut read = stream.next().await.unwrap().unwrap().to_vec();
    // Longer than a request may take: the reads ahead have ended long since, and the content is deleted meanwhile.
    assert_eq!(delete(&plane, &receipt).await, Deletion::Deleted);
    let gone = AtomicBool::new(false);
    let paused = tokio::time::timeout(Duration::from_millis(700), async {
        loop {
            plane.reclaim().await.unwrap();
            gone.store(true, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    });
    assert!(paused.await.is_err() && gone.load(Ordering::Relaxed));
    while let Some(bytes) = stream.next().await {
        read.extend_from_slice(&bytes.unwrap());
    }
    assert!(read == content);
    drop(stream);
    assert!(plane.reclaim().await.unwrap() >= content.len() as u64);
    assert_eq!(fake.keys("data/"), Vec::<String>::new());
}
