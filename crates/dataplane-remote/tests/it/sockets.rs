//! The socket in the file system.

use std::os::unix::fs::PermissionsExt;

use mainstay_dataplane_remote::{BindError, ConnectError, Listener, RemotePlane};

use crate::memory::MemoryPlane;
use crate::{Daemon, connect, place};

#[tokio::test]
async fn only_its_owner_can_open_it() {
    let (_directory, socket) = place();
    let listener = Listener::bind(&socket).await.unwrap();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&socket), 0o600);
    assert_eq!(mode(socket.parent().unwrap()), 0o700);
    drop(listener);
    assert!(!socket.exists());
}

#[tokio::test]
async fn a_socket_belongs_to_one_daemon() {
    let (_directory, socket) = place();
    let _daemon = Daemon::start(&socket, MemoryPlane::default()).await;
    let Err(BindError::InUse(path)) = Listener::bind(&socket).await else { panic!("it is in use") };
    assert_eq!(path, socket);
    connect(&socket).await;
}

#[tokio::test]
async fn an_abandoned_socket_is_replaced_and_nothing_else_is() {
    let (_directory, socket) = place();
    std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
    // Bound, and left behind as a daemon does that is killed.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    assert!(socket.exists());
    let Err(ConnectError::Socket { .. }) = RemotePlane::connect(&socket).await else { panic!("nobody listens") };
    drop(Listener::bind(&socket).await.unwrap());
    std::fs::write(&socket, "precious").unwrap();
    let Err(BindError::NoSocket(_)) = Listener::bind(&socket).await else { panic!("it is no socket") };
    assert_eq!(std::fs::read(&socket).unwrap(), b"precious");
    let long = socket.with_file_name("x".repeat(200));
    let Err(error) = Listener::bind(&long).await else { panic!("no socket has so long a path") };
    assert!(matches!(error, BindError::Listen { .. }), "{error:?}");
}
