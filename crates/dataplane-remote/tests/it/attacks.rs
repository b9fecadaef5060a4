//! What a peer may send, and who may be one.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use mainstay_dataplane::DataPlane;
use mainstay_dataplane_remote::{ConnectError, RemotePlane};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::memory::MemoryPlane;
use crate::{Daemon, connect, noise, place, plain, soon, source};

/// A message of version 1: one byte of CBOR that says so.
const GREETING: [u8; 6] = [1, 0, 0, 0, 1, 1];

/// Sends bytes, and waits until the daemon hangs up.
async fn is_hung_up_on(socket: &Path, bytes: &[u8]) {
    let mut stream = UnixStream::connect(socket).await.unwrap();
    // It may hang up before all is written.
    drop(stream.write_all(bytes).await);
    drop(stream.shutdown().await);
    let mut said = Vec::new();
    match soon(stream.read_to_end(&mut said)).await {
        Ok(_) => assert!(said.len() < 200, "{} bytes were said to one who made no sense", said.len()),
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_harms_nobody() {
    let (_directory, socket) = place();
    let _daemon = Daemon::start(&socket, MemoryPlane::default()).await;
    let remote = connect(&socket).await;
    let garbage = noise(400_000);
    for (seed, len) in (0usize..100).map(|seed| (seed, seed * 37)) {
        let bytes = &garbage[seed * 100..seed * 100 + len];
        is_hung_up_on(&socket, bytes).await;
        is_hung_up_on(&socket, &[&GREETING[..], bytes].concat()).await;
        // Messages with a right length and wrong CBOR in them.
        let message = [&GREETING[..], &[1, 0, 0], &(len as u16).to_be_bytes(), bytes].concat();
        is_hung_up_on(&socket, &message).await;
    }
    let content = noise(1000);
    assert_eq!(remote.ingest_stream(source(&content), plain()).await.unwrap().size, 1000);
    assert_eq!(remote.backend_health().await.contents, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_has_its_bounds() {
    let (_directory, socket) = place();
    let _daemon = Daemon::start(&socket, MemoryPlane::default()).await;
    // An ingest: array of 2, 0, its hints; then a part.
    let mut call = vec![0x82, 0x00, 0x81];
    call.extend(minicbor::to_vec(plain()).unwrap());
    let ingest = [&GREETING[..], &[1, 0, 0, 0, call.len() as u8], &call].concat();
    for kind in [0, 1, 2, 3, 4, 5, 255] {
        for len in [3 << 20, u32::MAX, 1 << 31] {
            let header = [&[kind][..], &len.to_be_bytes()].concat();
            is_hung_up_on(&socket, &header).await;
            is_hung_up_on(&socket, &[&GREETING[..], &header].concat()).await;
            is_hung_up_on(&socket, &[&ingest[..], &header].concat()).await;
        }
    }
    // One that is cut short anywhere.
    for len in 0..ingest.len() {
        is_hung_up_on(&socket, &ingest[..len]).await;
    }
    let remote = connect(&socket).await;
    assert_eq!(remote.backend_health().await.contents, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_version_is_refused() {
    let (_directory, socket) = place();
    std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
    for (said, invalid) in [(&[1, 0, 0, 0, 1, 9][..], true), (b"HTTP/1.1 400 Bad Request", true), (&[], false)] {
        let listener = tokio::net::UnixListener::bind(&socket).unwrap();
        let other = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.read_exact(&mut [0; GREETING.len()]).await.unwrap();
            stream.write_all(said).await.unwrap();
        });
        let error = soon(RemotePlane::connect(&socket)).await.err().unwrap();
        assert_eq!(matches!(error, ConnectError::Version { .. }), invalid, "{error:?}");
        other.await.unwrap();
        std::fs::remove_file(&socket).unwrap();
    }
}

/// Root only can be somebody else.
#[test]
fn strangers_are_turned_away() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not tested: that strangers are turned away, since only root can be one");
        return;
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (directory, socket) = place();
    let daemon = runtime.block_on(Daemon::start(&socket, MemoryPlane::default()));
    // As if the file system's own lock were broken.
    for path in [directory.path(), socket.parent().unwrap(), &socket] {
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o777)).unwrap();
    }
    // Who connects is, for the kernel, the thread that does.
    let said = std::thread::spawn({
        let socket = socket.clone();
        move || {
            use std::io::{Read, Write};
            rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(65_534)).unwrap();
            let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
            drop(stream.write_all(&GREETING));
            let mut said = Vec::new();
            drop(stream.read_to_end(&mut said));
            said
        }
    });
    assert_eq!(said.join().unwrap(), b"", "not a word to strangers");
    // Root is none, and neither is the daemon's own user.
    assert_eq!(runtime.block_on(async { connect(&socket).await.backend_health().await.trouble }), None);
    runtime.block_on(daemon.stop());
}
