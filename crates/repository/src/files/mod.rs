//! The files of a repository, wherever they lie.

mod directory;
mod failure;
mod operator;
mod remote;
mod sftp;

use std::ops::Range;

use bytes::Bytes;
use mainstay_types::Timestamp;

pub(crate) use failure::Failure;

use self::directory::Directory;
use self::remote::Remote;
use self::sftp::SftpServer;
use crate::{Credentials, Location, OpenError};

/// Where a file is written before it gets its name, where that takes more than one step.
const UNFINISHED: &str = "unfinished/";

/// Files by path, relative to the repository's root.
#[derive(Clone)]
pub(crate) enum Files {
    Directory(Directory),
    Remote(Remote),
}

/// A file in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) path: String,
    pub(crate) len: u64,
    pub(crate) modified: Option<Timestamp>,
}

impl Files {
    /// Nothing is looked up or sent yet.
    pub(crate) fn at(location: &Location, credentials: &Credentials) -> Result<Self, OpenError> {
        Ok(match location {
            Location::Directory(path) => {
                if !matches!(credentials, Credentials::None) {
                    return Err(OpenError::credentials(location, "a directory takes none; leave them out"));
                }
                Self::Directory(Directory::new(path.clone()))
            }
            Location::Sftp { user, host, port, path } => {
                let key = match credentials {
                    Credentials::KeyFile(file) => Some(file.clone()),
                    Credentials::None => None,
                    _ => {
                        let reason = "it takes a private key's file, or what OpenSSH is configured with";
                        return Err(OpenError::credentials(location, reason));
                    }
                };
                Self::Remote(Remote::Sftp(SftpServer::new(user.clone(), host, *port, key, path)))
            }
            Location::S3 { .. } => Self::Remote(Remote::Store(operator::build(location, credentials)?)),
            Location::WebDav { .. } => Self::Remote(Remote::WebDav(operator::build(location, credentials)?)),
        })
    }

    /// A file or a range of it, as far as there is one; nothing where there is no file.
    pub(crate) async fn read(&self, path: &str, range: Option<Range<u64>>) -> Result<Option<Vec<u8>>, Failure> {
        match self {
            Self::Directory(directory) => directory.read(path, range).await,
            Self::Remote(remote) => remote.read(path, range).await,
        }
    }

    /// Writes a file whole or not at all, in place of the one that was there. It is durable when this returns.
    pub(crate) async fn write(&self, path: &str, bytes: Bytes) -> Result<(), Failure> {
        match self {
            Self::Directory(directory) => directory.write(path, bytes).await,
            Self::Remote(remote) => remote.write(path, bytes).await,
        }
    }

    /// Removes a file, whether it is there or not.
    pub(crate) async fn remove(&self, path: &str) -> Result<(), Failure> {
        match self {
            Self::Directory(directory) => directory.remove(path).await,
            Self::Remote(remote) => remote.remove(path).await,
        }
    }

    /// All files below a folder, by path. A folder's name ends in a slash; all files are below the empty name.
    pub(crate) async fn list(&self, folder: &str) -> Result<Vec<Listed>, Failure> {
        let mut listed = match self {
            Self::Directory(directory) => directory.list(folder).await?,
            Self::Remote(remote) => remote.list(folder, usize::MAX).await?,
        };
        listed.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(listed)
    }

    pub(crate) fn is_directory(&self) -> bool {
        matches!(self, Self::Directory(_))
    }

    /// Something that lies at the root, where anything does that is not left from a repository that was never made.
    pub(crate) async fn anything(&self) -> Result<Option<String>, Failure> {
        match self {
            Self::Directory(directory) => directory.anything().await,
            Self::Remote(remote) => {
                let listed = remote.list("", 100).await?;
                Ok(listed.into_iter().map(|file| file.path).find(|path| !path.starts_with(UNFINISHED)))
            }
        }
    }

    /// Room that is left, where that can be told.
    pub(crate) async fn free_bytes(&self) -> Option<u64> {
        match self {
            Self::Directory(directory) => directory.free_bytes().await,
            Self::Remote(_) => None,
        }
    }

    /// Removes what writes that never ended have left, other than this process's.
    pub(crate) async fn remove_unfinished(&self) -> Result<u64, Failure> {
        let mut removed = 0;
        for file in self.list(UNFINISHED).await? {
            if !is_ours(&file.path) {
                self.remove(&file.path).await?;
                removed += file.len;
            }
        }
        Ok(removed)
    }
}

/// A name for a file that is being written. It tells this process's from others'.
fn unfinished() -> String {
    let mut random = [0; 8];
    getrandom::fill(&mut random).expect("the system gives random bytes");
    format!("{UNFINISHED}{}-{:016x}", process_mark(), u64::from_be_bytes(random))
}

fn is_ours(path: &str) -> bool {
    path.strip_prefix(UNFINISHED).is_some_and(|name| name.starts_with(process_mark()))
}

/// Drawn once for each process.
fn process_mark() -> &'static str {
    static MARK: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    MARK.get_or_init(|| {
        let mut random = [0; 8];
        getrandom::fill(&mut random).expect("the system gives random bytes");
        format!("{:016x}", u64::from_be_bytes(random))
    })
}
