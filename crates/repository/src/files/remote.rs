//! Files on another machine: each request with a timeout, and sent again a few times where that may help.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use mainstay_types::Timestamp;
use opendal::options::ListOptions;
use opendal::{ErrorKind, Operator};

use super::failure::may_pass;
use super::sftp::SftpServer;
use super::{Failure, Listed, unfinished};

/// How long an answer is waited for, beside the time that its bytes take.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// The slowest line that is put up with: 1 Mbit/s, on which a pack takes two minutes.
const SLOWEST_BYTES_PER_SECOND: u64 = 128 << 10;

/// What a listing of many requests may take as a whole, as bytes that come in that time: an hour. Each request is waited for by itself.
const LONGEST_LISTING: u64 = 3_600 * SLOWEST_BYTES_PER_SECOND;

/// How often a request is sent that fails in a way that may pass. It outlives the restart of a server.
const ATTEMPTS: u32 = 4;

/// How often one is sent that nobody answers: whoever waits is to be told.
const UNANSWERED: u32 = 2;

/// Before the second attempt; each further one waits twice as long.
const PAUSE: Duration = Duration::from_millis(250);

/// How OpenDAL's message begins when there is less of a file than the range that was asked for.
const TOO_SHORT: &str = "reader got too little data";

/// Files on another machine.
#[derive(Clone)]
pub(crate) enum Remote {
    /// A write shows when it is whole, and not before.
    Store(Operator),
    WebDav(Operator),
    Sftp(SftpServer),
}

impl Remote {
    pub(super) async fn read(&self, path: &str, range: Option<Range<u64>>) -> Result<Option<Vec<u8>>, Failure> {
        let len = range.as_ref().map_or(crate::pack::PACK_LEN as u64, |range| range.end.saturating_sub(range.start));
        let range = &range;
        let read = || async {
            let operator = match self {
                Self::Store(operator) | Self::WebDav(operator) => operator,
                Self::Sftp(server) => return server.read(path, range.clone()).await,
            };
            let found = match range.clone() {
                Some(range) if range.is_empty() => return Ok(Some(Vec::new())),
                Some(range) => operator.read_with(path).range(range).await,
                None => operator.read(path).await,
            };
            match found {
                Ok(bytes) => Ok(Some(bytes.to_vec())),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                // It is shorter than it should be: what is wanted of it is not there.
                Err(error) if error.kind() == ErrorKind::RangeNotSatisfied => Ok(Some(Vec::new())),
                Err(error) if error.message().starts_with(TOO_SHORT) => Ok(Some(Vec::new())),
                Err(error) => Err(error),
            }
        };
        attempt(&format!("reading {path}"), len, read).await
    }

    pub(super) async fn write(&self, path: &str, bytes: Bytes) -> Result<(), Failure> {
        let what = format!("writing {path}");
        let len = bytes.len() as u64;
        let unfinished = unfinished();
        let write = || async {
            match self {
                Self::Store(operator) => operator.write(path, bytes.clone()).await.map(drop),
                Self::WebDav(operator) => {
                    operator.write(&unfinished, bytes.clone()).await?;
                    operator.rename(&unfinished, path).await
                }
                Self::Sftp(server) => server.write(&unfinished, path, &bytes).await,
            }
        };
        let written = attempt(&what, len, write).await;
        if written.is_err() && !matches!(self, Self::Store(_)) {
            // That it cannot be removed either is found when room is reclaimed.
            let _ = tokio::time::timeout(PATIENCE, self.delete(&unfinished)).await;
        }
        written
    }

    pub(super) async fn remove(&self, path: &str) -> Result<(), Failure> {
        attempt(&format!("removing {path}"), 0, || self.delete(path)).await
    }

    async fn delete(&self, path: &str) -> opendal::Result<()> {
        match self {
            Self::Store(operator) | Self::WebDav(operator) => operator.delete(path).await,
            Self::Sftp(server) => server.remove(path).await,
        }
    }

    pub(super) async fn list(&self, folder: &str, limit: usize) -> Result<Vec<Listed>, Failure> {
        let list = || async {
            let mut found = Vec::new();
            let mut open = vec![folder.to_owned()];
            // Folder by folder, unless the service lists all below one at once.
            let recursive = matches!(self, Self::Store(_));
            while let Some(folder) = open.pop() {
                let operator = match self {
                    Self::Store(operator) | Self::WebDav(operator) => operator,
                    Self::Sftp(server) => {
                        let listed = server.list(&folder).await?;
                        let (folders, files): (Vec<_>, Vec<_>) =
                            listed.into_iter().partition(|listed| listed.path.ends_with('/'));
                        open.extend(folders.into_iter().map(|folder| folder.path));
                        found.extend(files);
                        if found.len() >= limit {
                            return Ok(found);
                        }
                        continue;
                    }
                };
                let options = ListOptions { recursive, ..ListOptions::default() };
                let mut lister = match in_time(operator.lister_options(&folder, options)).await {
                    Err(error) if error.kind() == ErrorKind::NotFound => continue,
                    lister => lister?,
                };
                loop {
                    let entry = match in_time(lister.try_next()).await {
                        Err(error) if error.kind() == ErrorKind::NotFound => break,
                        entry => entry?,
                    };
                    let Some(entry) = entry else { break };
                    let (path, metadata) = (entry.path(), entry.metadata());
                    if path.ends_with('/') {
                        if !recursive && path != folder && path != "/" {
                            open.push(path.to_owned());
                        }
                        continue;
                    }
                    let modified = metadata.last_modified();
                    let modified = modified.map(|at| Timestamp::from_micros(at.into_inner().as_microsecond()));
                    found.push(Listed { path: path.to_owned(), len: metadata.content_length(), modified });
                    if found.len() >= limit {
                        return Ok(found);
                    }
                }
            }
            Ok(found)
        };
        attempt(&format!("listing {folder}"), LONGEST_LISTING, list).await
    }
}

/// One of the requests of an operation that takes many.
async fn in_time<T>(request: impl Future<Output = opendal::Result<T>>) -> opendal::Result<T> {
    let unanswered = || {
        let reason = format!("no answer within {} s", PATIENCE.as_secs());
        opendal::Error::new(ErrorKind::Unexpected, reason).set_temporary()
    };
    tokio::time::timeout(PATIENCE, request).await.unwrap_or_else(|_| Err(unanswered()))
}

async fn attempt<T, F>(what: &str, len: u64, request: impl Fn() -> F) -> Result<T, Failure>
where
    F: Future<Output = opendal::Result<T>>,
{
    let patience = PATIENCE + Duration::from_secs(len / SLOWEST_BYTES_PER_SECOND);
    let mut pause = PAUSE;
    let mut attempt = 1;
    let mut unanswered = 0;
    loop {
        let failure = match tokio::time::timeout(patience, request()).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) if !may_pass(&error) => return Err(Failure::of_store(what, &error)),
            Ok(Err(error)) => Failure::of_store(what, &error),
            Err(_) => {
                unanswered += 1;
                Failure::Unavailable(format!("{what}: no answer within {} s, {unanswered} times", patience.as_secs()))
            }
        };
        if attempt >= ATTEMPTS || unanswered >= UNANSWERED {
            return Err(failure);
        }
        tracing::debug!(what, attempt, %failure, "the repository's location did not do it; trying again");
        tokio::time::sleep(pause).await;
        attempt += 1;
        pause *= 2;
    }
}
