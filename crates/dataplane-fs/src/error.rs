//! Why a store is not opened, and what the contract makes of the system's errors.

use std::io;
use std::path::PathBuf;

use mainstay_dataplane::Trouble;
use rustix::io::Errno;

/// Why a store is not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the content store in {} is in use by another process: end that process first", .0.display())]
    InUse(PathBuf),
    #[error(
        "the content store in {} is of format {found:?}, which this version does not read: use the version of Mainstay \
         that wrote it",
        .directory.display()
    )]
    Format { directory: PathBuf, found: String },
    #[error(
        "{} is not empty and holds no content store: name an empty directory or one that a content store is in",
        .0.display()
    )]
    NotAStore(PathBuf),
    #[error("cannot work in the content store's {}: check the disk and the permissions", .path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot make the index of the content store in {} from its packs", .directory.display())]
    Index {
        directory: PathBuf,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl OpenError {
    /// For `map_err`: what the system says of some path.
    pub(crate) fn at(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}

/// What keeps the store from its work, in the contract's words.
pub(crate) fn trouble(what: &str, error: &io::Error) -> Trouble {
    let reason = format!("cannot {what}: {error}");
    if is_full(error) { Trouble::Full { reason } } else { Trouble::Unavailable { reason } }
}

/// Whether room would help: none is left, or none for this user.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG))
}
