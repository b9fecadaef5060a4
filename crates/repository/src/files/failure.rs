//! Why a file was not read or written.

use std::io;

use mainstay_dataplane::Trouble;
use opendal::ErrorKind;

/// The most of a server's own words that is passed on: it fits on two lines, and keeps its XML and HTML out of logs.
const MAX_REASON_CHARS: usize = 240;

/// With these, servers say that there is no room: stores of S3's kind, WebDAV's status 507, file systems behind SFTP.
const FULL: [&str; 6] = [
    "XMinioStorageFull",
    "QuotaExceeded",
    "InsufficientStorage",
    "status: 507",
    "No space left on device",
    "quota is reached",
];

/// With these, servers refuse access where OpenDAL does not say so: WebDAV's, and SSH's.
const DENIED: [&str; 3] = ["status: 401", "Permission denied", "Host key verification failed"];

/// Why a file was not read, written, listed or removed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    #[error("there is no room: {0}")]
    Full(String),
    #[error("access is refused: {0}")]
    Denied(String),
    #[error("{0}")]
    Unavailable(String),
}

impl Failure {
    pub(crate) fn of_io(what: &str, error: &io::Error) -> Self {
        let reason = format!("{what}: {error}");
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full(reason),
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::Denied(reason),
            _ => Self::Unavailable(reason),
        }
    }

    pub(crate) fn of_store(what: &str, error: &opendal::Error) -> Self {
        let reason = format!("{what}: {}", words(error));
        if has_any(error, &FULL) {
            Self::Full(reason)
        } else if is_denied(error) {
            Self::Denied(reason)
        } else {
            Self::Unavailable(reason)
        }
    }
}

/// Whether a request that failed so may be sent again.
pub(crate) fn may_pass(error: &opendal::Error) -> bool {
    error.is_temporary() && !has_any(error, &FULL) && !is_denied(error)
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Full(reason) => Self::Full { reason },
            Failure::Denied(reason) => {
                Self::unavailable(format!("the repository's location refuses access; check its credentials: {reason}"))
            }
            Failure::Unavailable(reason) => Self::Unavailable { reason },
        }
    }
}

fn is_denied(error: &opendal::Error) -> bool {
    error.kind() == ErrorKind::PermissionDenied || has_any(error, &DENIED)
}

fn has_any(error: &opendal::Error, signs: &[&str]) -> bool {
    // The one has what OpenDAL notes of an answer, the other its causes.
    let text = format!("{error} {}", words(error));
    signs.iter().any(|sign| text.contains(sign))
}

/// The server's own words, or those of whatever could not reach it.
fn words(error: &opendal::Error) -> String {
    let message = error.message();
    let mut words = if message.is_empty() { error.kind().to_string() } else { message.to_owned() };
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        words = format!("{words}: {cause}");
        source = cause.source();
    }
    words.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(MAX_REASON_CHARS).collect()
}
