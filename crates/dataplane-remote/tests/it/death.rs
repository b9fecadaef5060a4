//! Daemons die, and come back.

use std::time::Instant;

use futures::{StreamExt, stream};
use mainstay_dataplane::{
    Address, Body, DataPlane, Delete, DeleteError, Deletion, IngestError, Inventory, Owner, Serve, ServeError, Source,
    Trouble, Verify,
};

use crate::memory::MemoryPlane;
use crate::odd::OddPlane;
use crate::{Daemon, LIMIT, connect, noise, place, plain, soon, source, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_dies_in_the_middle_of_an_ingest_is_unavailable() {
    let (_directory, socket) = place();
    let plane = OddPlane::default();
    let daemon = Daemon::start(&socket, plane.clone()).await;
    let remote = connect(&socket).await;
    // The source itself waits for ever: the daemon's death must show all the same.
    let stalling: Source = Box::pin(stream::iter([Ok(noise(1000))]).chain(stream::pending()));
    let ingest = tokio::spawn(async move { remote.ingest_stream(stalling, plain()).await });
    until("the ingest has begun", || plane.read.load(std::sync::atomic::Ordering::SeqCst) == 1000).await;
    daemon.kill().await;
    let error = soon(ingest).await.unwrap().unwrap_err();
    assert!(matches!(error, IngestError::Trouble(Trouble::Unavailable { .. })), "{error:?}");
    until("the call is given up", || plane.going.load(std::sync::atomic::Ordering::SeqCst) == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_dies_in_the_middle_of_serving_ends_in_an_error() {
    let (_directory, socket) = place();
    let plane = MemoryPlane::default();
    let daemon = Daemon::start(&socket, plane).await;
    let remote = connect(&socket).await;
    let content = noise(20_000_000);
    let address = remote.ingest_stream(source(&content), plain()).await.unwrap().address;
    let served = remote.serve_object(Serve { address, range: None, key: None }).await.unwrap();
    let Body::Stream(mut stream) = served.body else { panic!("20 MB should be a stream") };
    let mut read = stream.next().await.unwrap().unwrap().to_vec();
    daemon.kill().await;
    let error = loop {
        match soon(stream.next()).await.expect("a stream that is not whole does not end in peace") {
            Ok(bytes) => read.extend_from_slice(&bytes),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, ServeError::Trouble(Trouble::Unavailable { .. })), "{error:?}");
    assert!(read.len() < content.len() && content.starts_with(&read));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_comes_back_is_found_again() {
    let (_directory, socket) = place();
    let plane = MemoryPlane::default();
    let daemon = Daemon::start(&socket, plane.clone()).await;
    let remote = connect(&socket).await;
    let content = noise(5_000);
    let receipt = remote.ingest_stream(source(&content), plain()).await.unwrap();
    daemon.kill().await;
    // Whether a connection that waits for its call has been hung up on, shows a moment later.
    let deadline = Instant::now() + LIMIT;
    while !soon(remote.backend_health()).await.trouble.is_some_and(|trouble| trouble.contains("no data plane listens"))
    {
        assert!(Instant::now() < deadline, "it should be noticed that nobody listens");
    }

    let address = receipt.address;
    let unavailable =
        |trouble: &Trouble| matches!(trouble, Trouble::Unavailable { reason } if reason.contains("socket"));
    let Err(ServeError::Trouble(trouble)) = soon(remote.verify_object(Verify { address, key: None })).await else {
        panic!("nobody is there to verify");
    };
    assert!(unavailable(&trouble), "{trouble:?}");
    let delete = Delete { owner: Owner::Objects, address, claim: receipt.claim };
    let Err(DeleteError::Trouble(trouble)) = soon(remote.delete_object(delete.clone())).await else {
        panic!("nobody is there to delete");
    };
    assert!(unavailable(&trouble), "{trouble:?}");
    let health = soon(remote.backend_health()).await;
    assert_eq!(health.backend, "memory");
    assert!(health.trouble.is_some_and(|trouble| trouble.contains("mainstay dataplane --socket")));
    assert!(remote.contents(Owner::Objects, None, 10).await.is_err());
    assert!(remote.reclaim().await.is_err());

    for _ in 0..3 {
        let daemon = Daemon::start(&socket, plane.clone()).await;
        assert_eq!(remote.verify_object(Verify { address, key: None }).await.unwrap().size, 5_000);
        assert_eq!(remote.backend_health().await.trouble, None);
        daemon.stop().await;
    }
    let _daemon = Daemon::start(&socket, plane).await;
    assert_eq!(remote.delete_object(delete).await, Ok(Deletion::Deleted));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_stops_lets_calls_end() {
    let (_directory, socket) = place();
    let plane = MemoryPlane::default();
    let daemon = Daemon::start(&socket, plane).await;
    let remote = connect(&socket).await;
    let content = noise(3_000_000);
    let address = remote.ingest_stream(source(&content), plain()).await.unwrap().address;
    let served = remote.serve_object(Serve { address, range: None, key: None }).await.unwrap();
    let Body::Stream(stream) = served.body else { panic!("3 MB should be a stream") };
    let stopping = tokio::spawn(daemon.stop());
    let read: Vec<u8> = stream.map(|bytes| bytes.unwrap().to_vec()).concat().await;
    assert!(read == content && Address::of(&read) == address);
    soon(stopping).await.unwrap();
    assert!(!socket.exists(), "the socket goes with its daemon");
}
