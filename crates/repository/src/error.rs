//! Why a repository cannot be used.

use mainstay_dataplane::Trouble;

use crate::Location;
use crate::files::Failure;

/// Why a repository was not created or opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("there is no repository at {location}; check the location, or create a repository there")]
    Absent { location: Location },
    #[error("there is a repository at {location} already; open it, or name another location")]
    Exists { location: Location },
    #[error(
        "{location} holds something else than a repository ({found}); name an empty location or one of its own below it"
    )]
    NotEmpty { location: Location, found: String },
    #[error(
        "the recovery key {given} does not open the repository at {location}, which was made with {wanted}; look for the \
         key that was printed then"
    )]
    WrongKey {
        location: Location,
        /// Fingerprints.
        given: String,
        wanted: String,
    },
    #[error(
        "the repository at {location} has format {found}, and this version of Mainstay reads formats up to {known}; use a newer version"
    )]
    Format { location: Location, found: u64, known: u64 },
    #[error(
        "{name} of the repository at {location} cannot be read: {reason}; take it from another copy of the repository"
    )]
    Damaged { location: Location, name: String, reason: String },
    #[error("{location} cannot be used with these credentials: {reason}")]
    Credentials { location: Location, reason: String },
    #[error("{location} refuses access: {reason}; check the credentials and their right to read and write there")]
    Denied { location: Location, reason: String },
    #[error("the repository at {location} cannot be used now")]
    Trouble {
        location: Location,
        #[source]
        source: Trouble,
    },
    #[error("the operating system gives no random bytes")]
    Random(#[source] getrandom::Error),
}

/// Why a copy was not brought up to date. What was copied is there, and the next attempt goes on after it.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    #[error("the copy cannot be opened")]
    Open(#[source] OpenError),
    #[error("{location} is where the repository itself lies; name another location for its copy")]
    Itself { location: Location },
    #[error("{location} holds another repository ({found}, not {id}), which is left as it is; name an empty location")]
    Another { location: Location, found: uuid::Uuid, id: uuid::Uuid },
    #[error(
        "a layer has gone on with the copy at {location} as its own repository, and it is left as it is; name another location, or remove \
         {} there if it is to be a copy again",
        crate::keeper::FILE
    )]
    Kept { location: Location },
    #[error(
        "the copy at {location} is ahead of its repository, which was put back as it was earlier, and the copy is left as it is; put the \
         repository back from the copy, file by file, or remove {} there if the copy is to lose what is newer",
        crate::mirror::MARKER
    )]
    Ahead { location: Location },
    #[error("the repository cannot be used")]
    From(#[source] Trouble),
    #[error(
        "{missing} is not at {location}, and the copy is left as it is; see that the disk is mounted, or put back from the copy what is lost"
    )]
    Lost { location: Location, missing: &'static str },
    #[error("the copy at {location} cannot be written")]
    To {
        location: Location,
        #[source]
        source: Trouble,
    },
}

impl OpenError {
    pub(crate) fn credentials(location: &Location, reason: impl Into<String>) -> Self {
        Self::Credentials { location: location.clone(), reason: reason.into() }
    }

    pub(crate) fn of(location: &Location, failure: Failure) -> Self {
        let location = location.clone();
        match failure {
            Failure::Denied(reason) => Self::Denied { location, reason },
            other => Self::Trouble { location, source: other.into() },
        }
    }
}
