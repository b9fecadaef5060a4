//! Where a repository lies.

use std::path::PathBuf;

/// A place for a repository, from `/abs/path`, `file:///path`, `s3://bucket/prefix?endpoint=URL&region=NAME`,
/// `webdav://host[:port]/path`, `webdavs://…` or `sftp://user@host[:port]/path`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Location {
    Directory(PathBuf),
    S3 { bucket: String, prefix: String, endpoint: String, region: String },
    WebDav { tls: bool, authority: String, path: String },
    Sftp { user: Option<String>, host: String, port: u16, path: String },
}

/// Text that is no location. A password in it is not repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no location of a repository: {reason}")]
pub struct InvalidLocation {
    text: String,
    reason: String,
}

impl std::str::FromStr for Location {
    type Err = InvalidLocation;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        todo!()
    }
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        todo!()
    }
}
