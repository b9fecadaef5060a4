//! Requests to the store: each with a timeout, and sent again a few times where that may help.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use mainstay_types::Timestamp;
use opendal::options::{ListOptions, ReaderOptions, WriteOptions};
use opendal::{Buffer, ErrorKind, Operator};

use crate::Patience;
use crate::failure::{Failure, may_pass};

/// Keys in an answer to a listing, and in a request to delete: what S3 allows.
pub(crate) const PAGE: usize = 1_000;

/// How OpenDAL's message begins when there is less of an object than the range that was asked for.
const TOO_SHORT: &str = "reader got too little data";

/// The bucket, below the prefix.
pub(crate) struct Store {
    operator: Operator,
    patience: Patience,
}

/// An object or a range of it.
pub(crate) struct Found {
    pub(crate) bytes: Buffer,
    /// Changes with the object.
    pub(crate) etag: Option<String>,
}

/// An object in a listing.
pub(crate) struct Listed {
    pub(crate) key: String,
    pub(crate) size: u64,
    pub(crate) modified: Option<Timestamp>,
}

/// What must be so for a write to happen. Some stores do not look.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Condition<'a> {
    None,
    /// There is no such object.
    Absent,
    /// It is the one with this ETag.
    Unchanged(&'a str),
}

impl Store {
    pub(crate) fn new(operator: Operator, patience: Patience) -> Self {
        Self { operator, patience }
    }

    pub(crate) async fn put(
        &self,
        key: &str,
        body: impl Into<Buffer>,
        condition: Condition<'_>,
    ) -> Result<(), Failure> {
        let body = body.into();
        let options = WriteOptions {
            if_not_exists: matches!(condition, Condition::Absent),
            if_match: match condition {
                Condition::Unchanged(etag) => Some(etag.to_owned()),
                Condition::None | Condition::Absent => None,
            },
            ..WriteOptions::default()
        };
        self.attempt(&format!("PUT {key}"), || self.operator.write_options(key, body.clone(), options.clone())).await?;
        Ok(())
    }

    /// An object, or as much of a range of it as there is; nothing where there is no object, or none that is so long.
    pub(crate) async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<Option<Found>, Failure> {
        let range = &range;
        let read = || async {
            let reader = self.operator.reader_options(key, ReaderOptions::default()).await?;
            let bytes = match range.clone() {
                Some(range) => reader.read(range).await,
                None => reader.read(..).await,
            };
            // OpenDAL holds it for a failure that an object is shorter than what is asked for.
            let bytes = match (bytes, range) {
                (Err(error), Some(range)) if error.message().starts_with(TOO_SHORT) => reader.read(range.start..).await,
                (bytes, _) => bytes,
            };
            match bytes {
                Ok(bytes) => {
                    let etag = reader.metadata().and_then(|metadata| metadata.etag()).map(str::to_owned);
                    Ok(Some(Found { bytes, etag }))
                }
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::RangeNotSatisfied) => Ok(None),
                Err(error) => Err(error),
            }
        };
        self.attempt(&format!("GET {key}"), read).await
    }

    /// Removes objects, whether they are there or not.
    pub(crate) async fn delete(&self, keys: &[String]) -> Result<(), Failure> {
        for keys in keys.chunks(PAGE) {
            match keys {
                [key] => self.attempt(&format!("DELETE {key}"), || self.operator.delete(key)).await?,
                _ => {
                    let request = format!("DELETE of {} keys", keys.len());
                    self.attempt(&request, || self.operator.delete_iter(keys.iter().cloned())).await?;
                }
            }
        }
        Ok(())
    }

    /// The first objects below a prefix by key, at most [`PAGE`], beginning after some key; fewer only at the end.
    pub(crate) async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Listed>, Failure> {
        self.attempt(&format!("LIST {prefix}"), || self.page(prefix, after, limit.min(PAGE))).await
    }

    /// Whether the store answers, asked once.
    pub(crate) async fn ping(&self) -> Result<(), Failure> {
        match tokio::time::timeout(self.patience.health, self.page("", None, 1)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(Failure::of("LIST", &error)),
            Err(_) => Err(no_answer("LIST", self.patience.health, 1)),
        }
    }

    async fn page(&self, prefix: &str, after: Option<&str>, limit: usize) -> opendal::Result<Vec<Listed>> {
        let options = ListOptions {
            limit: Some(limit),
            start_after: after.map(str::to_owned),
            recursive: true,
            ..ListOptions::default()
        };
        let mut lister = self.operator.lister_options(prefix, options).await?;
        let mut page = Vec::with_capacity(limit);
        while page.len() < limit
            && let Some(entry) = lister.try_next().await?
        {
            let metadata = entry.metadata();
            // What other tools put there to stand for a folder.
            if entry.path().ends_with('/') {
                continue;
            }
            page.push(Listed {
                key: entry.path().to_owned(),
                size: metadata.content_length(),
                modified: metadata.last_modified().map(|at| Timestamp::from_micros(at.into_inner().as_microsecond())),
            });
        }
        Ok(page)
    }

    async fn attempt<T, F: Future<Output = opendal::Result<T>>>(
        &self,
        request: &str,
        send: impl Fn() -> F,
    ) -> Result<T, Failure> {
        let Patience { request: patience, attempts, .. } = self.patience;
        let mut pause = self.patience.pause;
        let mut attempt = 1;
        loop {
            let failure = match tokio::time::timeout(patience, send()).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) if !may_pass(&error) => {
                    let failure = Failure::of(request, &error);
                    return Err(if attempt > 1 { failure.after_others() } else { failure });
                }
                Ok(Err(error)) => Failure::of(request, &error),
                Err(_) => no_answer(request, patience, attempt),
            };
            if attempt >= attempts {
                return Err(failure);
            }
            tracing::debug!(request, attempt, ?failure, "the object store did not do it; trying again");
            tokio::time::sleep(pause).await;
            attempt += 1;
            pause *= 2;
        }
    }
}

impl Found {
    pub(crate) fn into_bytes(self) -> Bytes {
        self.bytes.to_bytes()
    }
}

fn no_answer(request: &str, patience: Duration, attempts: u32) -> Failure {
    let times = if attempts == 1 { String::new() } else { format!(", {attempts} times") };
    Failure::Unavailable(format!("{request}: no answer within {} s{times}", patience.as_secs_f32()))
}
