//! Taking a snapshot, of one moment, while the store is written to.
//!
//! Entries are read in the order of their revisions. One that is changed meanwhile gets a higher revision, so that it is
//! met again further on; what is removed meanwhile the writer tells. When the end is near, the writer is held for one last
//! page and the head, and the snapshot is of that moment.

use std::io;
use std::sync::PoisonError;

use mainstay_storage::{ReadError, Row, Statement};
use tokio::io::AsyncWrite;

use super::format::{Frame, Output};
use crate::custody::Custody;
use crate::inner::{Inner, Removed};
use crate::keyring;
use crate::record::{Record, stored};
use crate::seal::StoredSeal;
use crate::writer::REMOVALS_REMEMBERED;

/// How many bytes of ciphertext a page should hold, and between which numbers of rows it is kept: a page of the largest
/// entries alone takes 16 MiB.
const PAGE_BYTES: usize = 4 << 20;
const PAGE_ROWS: (usize, usize) = (16, 4000);

/// Rows that may be read while the writer is held: some milliseconds. Where there are more, it is let go once more.
const LAST_ROWS: usize = 500;

/// What a snapshot holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotSummary {
    /// [`Custody::position`] at its moment.
    pub position: u64,
    pub bytes: u64,
}

/// Why no snapshot was taken. What was written of it is to be thrown away.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("the secret store is not initialised, so that there is nothing to take a snapshot of")]
    NotInitialized,
    #[error("another snapshot of the secret store is being taken; wait for it")]
    UnderWay,
    #[error("the snapshot is written more slowly than entries are removed; write it to a faster place")]
    TooSlow,
    #[error("the secret store cannot be read")]
    Read(#[source] ReadError),
    #[error("the snapshot cannot be written")]
    Write(#[source] io::Error),
}

impl Custody {
    /// Writes the whole store as it is sealed: it can be taken while the store is sealed, and is useless without its seal.
    pub async fn snapshot<W: AsyncWrite + Unpin>(&self, writer: &mut W) -> Result<SnapshotSummary, SnapshotError> {
        let inner = self.inner();
        let watch = Watch::begin(inner).await?;
        // Before the first byte, so that whoever sends the snapshot on can still answer something else.
        if StoredSeal::load(&inner.store).await.map_err(SnapshotError::Read)?.is_none() {
            return Err(SnapshotError::NotInitialized);
        }
        let mut output = Output::begin(writer).await.map_err(SnapshotError::Write)?;
        let (mut after, mut rows) = (0, PAGE_ROWS.0);
        loop {
            let page = read(inner, after, rows).await?;
            let near_the_end = page.records.len() < rows;
            write(&mut output, &page, &watch.take()?).await?;
            after = page.last.unwrap_or(after);
            rows = page.next_rows(rows);
            if !near_the_end {
                continue;
            }
            // What is written from here on is in memory, so that a slow reader of the snapshot holds nobody.
            let turn = inner.turn().await;
            let page = read(inner, after, LAST_ROWS).await?;
            if page.records.len() < LAST_ROWS {
                let removed = watch.take()?;
                let (frames, position) = last_frames(inner).await?;
                drop(turn);
                write(&mut output, &page, &removed).await?;
                for frame in frames {
                    output.frame(&frame).await.map_err(SnapshotError::Write)?;
                }
                let bytes = output.end().await.map_err(SnapshotError::Write)?;
                return Ok(SnapshotSummary { position, bytes });
            }
            drop(turn);
            write(&mut output, &page, &[]).await?;
            after = page.last.unwrap_or(after);
        }
    }
}

/// As long as it lives, the writer tells what it removes.
struct Watch<'a>(&'a Inner);

impl<'a> Watch<'a> {
    async fn begin(inner: &'a Inner) -> Result<Self, SnapshotError> {
        // No change is half-way told.
        let _turn = inner.turn().await;
        let mut removed = inner.removed.lock().unwrap_or_else(PoisonError::into_inner);
        if removed.is_some() {
            return Err(SnapshotError::UnderWay);
        }
        *removed = Some(Vec::new());
        Ok(Self(inner))
    }

    /// What was removed since it was last asked.
    fn take(&self) -> Result<Vec<Removed>, SnapshotError> {
        let removed = self.0.removed.lock().unwrap_or_else(PoisonError::into_inner).replace(Vec::new());
        let removed = removed.unwrap_or_default();
        if removed.len() > REMOVALS_REMEMBERED { Err(SnapshotError::TooSlow) } else { Ok(removed) }
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.0.removed.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

struct Page {
    records: Vec<(String, Record)>,
    last: Option<u64>,
}

impl Page {
    /// How many rows of that size make a page.
    fn next_rows(&self, rows: usize) -> usize {
        let bytes: usize = self.records.iter().map(|(_, record)| record.ciphertext.len()).sum();
        let each = bytes / self.records.len().max(1) + 1;
        // Doubled at most: what comes next may be larger than what came before.
        (PAGE_BYTES / each).min(2 * rows).clamp(PAGE_ROWS.0, PAGE_ROWS.1)
    }
}

async fn read(inner: &Inner, after: u64, rows: usize) -> Result<Page, SnapshotError> {
    let select = "SELECT revision, path, key_version, mark, ciphertext FROM entries WHERE revision > $1 \
                  ORDER BY revision LIMIT $2";
    let statement = Statement::new(select, [stored(after), (rows as i64).into()]);
    let rows = inner.store.read(statement).await.map_err(SnapshotError::Read)?;
    let records: Result<Vec<_>, _> = rows.into_iter().map(Record::from_row).collect();
    let records = records.map_err(SnapshotError::Read)?;
    let last = records.last().map(|(_, record)| record.imprint.revision);
    Ok(Page { records, last })
}

async fn write<W: AsyncWrite + Unpin>(
    output: &mut Output<'_, W>,
    page: &Page,
    removed: &[Removed],
) -> Result<(), SnapshotError> {
    for (path, record) in &page.records {
        let frame = Frame::Entry {
            revision: record.imprint.revision,
            path: path.clone(),
            key_version: record.imprint.key_version,
            mark: record.imprint.mark.to_vec(),
            ciphertext: record.ciphertext.clone(),
        };
        output.frame(&frame).await.map_err(SnapshotError::Write)?;
    }
    for Removed { path, revision } in removed {
        let frame = Frame::Removed { path: path.clone(), revision: *revision };
        output.frame(&frame).await.map_err(SnapshotError::Write)?;
    }
    Ok(())
}

/// The seal, the keys and the head, and the head's counter.
async fn last_frames(inner: &Inner) -> Result<(Vec<Frame>, u64), SnapshotError> {
    let ask = async |sql| inner.store.read(Statement::new(sql, [])).await.map_err(SnapshotError::Read);
    let seal = ask("SELECT kind, shares, threshold, key_id, root_key FROM seal WHERE id = 1").await?;
    let keys = inner.store.read(keyring::all_keys()).await.map_err(SnapshotError::Read)?;
    let head = ask("SELECT counter, sealed FROM head WHERE id = 1").await?;
    let (Some(seal), Some(head)) = (seal.first(), head.first()) else { return Err(SnapshotError::NotInitialized) };
    let frames = (|| {
        let mut frames = keys.iter().map(key_frame).collect::<Result<Vec<_>, ReadError>>()?;
        frames.push(Frame::Seal {
            kind: seal.text(0)?.to_owned(),
            shares: number(seal, 1)?,
            threshold: number(seal, 2)?,
            key_id: seal.text(3)?.to_owned(),
            root_key: seal.blob(4)?.to_vec(),
        });
        let counter = number(head, 0)?;
        frames.push(Frame::Head { counter, sealed: head.blob(1)?.to_vec() });
        Ok((frames, counter))
    })();
    frames.map_err(SnapshotError::Read)
}

fn key_frame(row: &Row) -> Result<Frame, ReadError> {
    Ok(Frame::DataKey { version: number(row, 0)?, installed_at: row.integer(1)?, sealed: row.blob(2)?.to_vec() })
}

fn number<T: TryFrom<i64, Error: std::error::Error + Send + Sync + 'static>>(
    row: &Row,
    column: usize,
) -> Result<T, ReadError> {
    row.integer(column)?.try_into().map_err(|error| ReadError::Other { source: Box::new(error) })
}
