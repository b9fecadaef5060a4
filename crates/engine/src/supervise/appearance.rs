//! Tells when something appears in a directory.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
use tokio::io::unix::AsyncFd;

use super::process::watchable;

/// Room for what is told at once: of each change its entry's name. What does not fit is read with the next.
const ROOM: usize = 1024;

/// A directory that is watched for what appears in it: whoever waits for an engine's socket need not look again and again.
#[derive(Debug)]
pub(super) struct Appearances(Option<AsyncFd<OwnedFd>>);

impl Appearances {
    /// Watches a directory. Where that cannot be done, since a user has only so many watches, nothing is ever told.
    pub fn of(directory: &Path) -> Self {
        let watched = || -> io::Result<AsyncFd<OwnedFd>> {
            let changes = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
            // A socket can be connected to only after it was made, and has its mode changed by then.
            add_watch(&changes, directory, WatchFlags::CREATE | WatchFlags::ATTRIB)?;
            watchable(changes)
        };
        Self(watched().ok())
    }

    /// Resolves once something has appeared since the last time.
    pub async fn next(&self) {
        let Some(changes) = &self.0 else { return std::future::pending().await };
        // Fails only when the runtime shuts down, and then nobody waits any more.
        let Ok(mut told) = changes.readable().await else { return std::future::pending().await };
        let mut room = [0; ROOM];
        while rustix::io::read(changes, &mut room).is_ok_and(|read| read > 0) {}
        told.clear_ready();
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::Appearances;

    const PATIENCE: Duration = Duration::from_secs(10);
    const MOMENT: Duration = Duration::from_millis(1);

    #[tokio::test]
    async fn what_appears_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let appearances = Appearances::of(folder.path());
        tokio::time::timeout(MOMENT, appearances.next()).await.unwrap_err();
        let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
        tokio::time::timeout(PATIENCE, appearances.next()).await.unwrap();
        tokio::time::timeout(MOMENT, appearances.next()).await.unwrap_err();
    }

    #[tokio::test]
    async fn of_a_directory_that_is_not_there_nothing_is_told() {
        let appearances = Appearances::of(Path::new("/nonexistent"));
        tokio::time::timeout(MOMENT, appearances.next()).await.unwrap_err();
    }
}
