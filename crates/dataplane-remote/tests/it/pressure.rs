//! Streams flow as fast as their reader reads, and calls that are given up end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::{StreamExt, stream};
use mainstay_dataplane::{Address, Body, DataPlane, IngestError, Serve, Source, Trouble, Verify};

use crate::odd::{OddPlane, PART};
use crate::{Daemon, connect, place, plain, soon, until};

/// What may be between one end of a stream and the other: the buffers of two sockets (208 KiB by default, and Linux counts
/// its own overhead), a frame on both sides.
const BETWEEN: u64 = 2 << 20;

fn anything() -> Serve {
    Serve { address: Address::of(b"anything"), range: None, key: None }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_slows_the_daemon() {
    let (_directory, socket) = place();
    let plane = OddPlane::default();
    let _daemon = Daemon::start(&socket, plane.clone()).await;
    let remote = connect(&socket).await;
    let Body::Stream(mut stream) = remote.serve_object(anything()).await.unwrap().body else { panic!("it has no end") };
    for round in 0..200u64 {
        let part = soon(stream.next()).await.unwrap().unwrap();
        assert!(part.iter().all(|byte| *byte == 7));
        // Other calls are not held up, and give the daemon time in which it could run ahead.
        assert_eq!(soon(remote.backend_health()).await.trouble, None);
        let ahead = plane.served.load(Ordering::SeqCst).saturating_sub(round + 1) * PART as u64;
        assert!(ahead < BETWEEN, "{ahead} bytes ahead of a slow reader");
    }
    drop(stream);
    until("the daemon stops serving", || plane.going.load(Ordering::SeqCst) == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_backend_slows_the_source() {
    let (_directory, socket) = place();
    let plane = OddPlane::default();
    let _daemon = Daemon::start(&socket, plane.clone()).await;
    let remote = connect(&socket).await;
    let given = Arc::new(AtomicU64::new(0));
    let endless: Source = {
        let given = given.clone();
        Box::pin(stream::repeat_with(move || {
            given.fetch_add(PART as u64, Ordering::SeqCst);
            Ok(Bytes::from(vec![1; PART]))
        }))
    };
    let ingest = tokio::spawn({
        let remote = remote.clone();
        async move { remote.ingest_stream(endless, plain()).await }
    });
    until("the stream has begun", || plane.read.load(Ordering::SeqCst) > 0).await;
    for _ in 0..200 {
        assert_eq!(soon(remote.backend_health()).await.trouble, None);
        let given = given.load(Ordering::SeqCst);
        assert!(given < BETWEEN, "{given} bytes were read of a source that nobody keeps");
    }
    ingest.abort();
    until("the daemon gives it up", || plane.going.load(Ordering::SeqCst) == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_comes_before_the_end_of_the_stream() {
    let (_directory, socket) = place();
    let plane = OddPlane { full: true, ..OddPlane::default() };
    let _daemon = Daemon::start(&socket, plane).await;
    let remote = connect(&socket).await;
    for _ in 0..20 {
        let endless: Source = Box::pin(stream::repeat_with(|| Ok(Bytes::from(vec![1; PART]))));
        let error = soon(remote.ingest_stream(endless, plain())).await.unwrap_err();
        assert!(matches!(error, IngestError::Trouble(Trouble::Full { .. })), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_given_up_ends_in_the_daemon_too() {
    let (_directory, socket) = place();
    let plane = OddPlane::default();
    let _daemon = Daemon::start(&socket, plane.clone()).await;
    let remote = connect(&socket).await;
    let calls: Vec<_> = (0..10)
        .map(|_| {
            let remote = remote.clone();
            tokio::spawn(async move { remote.verify_object(Verify { address: Address::of(b""), key: None }).await })
        })
        .collect();
    until("all calls go on", || plane.going.load(Ordering::SeqCst) == 10).await;
    calls.iter().for_each(tokio::task::JoinHandle::abort);
    until("no call goes on", || plane.going.load(Ordering::SeqCst) == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_takes_long_is_waited_for() {
    let (_directory, socket) = place();
    let plane = OddPlane::default();
    let _daemon = Daemon::start(&socket, plane.clone()).await;
    let remote = connect(&socket).await;
    let verify = remote.verify_object(Verify { address: Address::of(b""), key: None });
    // Several heartbeats.
    let waited = tokio::time::timeout(std::time::Duration::from_millis(2500), verify).await;
    assert!(waited.is_err(), "{waited:?}");
}
