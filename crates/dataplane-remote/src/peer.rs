//! Who is at the other end.

use std::io;

use tokio::net::UnixStream;

/// The users who may be at the other end: this process's own, and root, who can be anybody anyway.
pub(crate) fn is_trusted(uid: u32) -> bool {
    uid == own_uid() || uid == 0
}

pub(crate) fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The user who made the other end, as the kernel tells it (`SO_PEERCRED`, unix(7)).
pub(crate) fn uid(stream: &UnixStream) -> io::Result<u32> {
    Ok(stream.peer_cred()?.uid())
}
