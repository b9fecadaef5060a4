//! Brings what `pg_receivewal` has written into the archive.
//!
//! A segment that is whole is one piece. The newest one is not whole for a long time where little is written; of that the
//! archive gets what is new, again and again, as increments, which are forgotten once the segment is whole.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use mainstay_engine::EngineError;
use mainstay_engine::recovery::{Archive, LogPiece};
use mainstay_types::Timestamp;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::stream;
use super::wal::{Lsn, PieceName, SEGMENT_BYTES, Segment};

/// A page of the log begins with a header that is not zero, wherever it has been written (`XLOG_BLCKSZ`).
const PAGE_BYTES: usize = 8_192;
/// Increments of one segment. One more, and they are put together: a restore reads each, and the catalogue holds each.
const MOST_INCREMENTS: usize = 32;
/// What the name of a segment that is being received ends with.
const PARTIAL: &str = ".partial";

/// What is in the archive already of one cluster's log.
pub(super) struct Keeper<'a> {
    directory: PathBuf,
    archive: &'a Archive,
    whole: BTreeSet<Segment>,
    histories: BTreeSet<u32>,
    /// Of segments that are not whole: offset and size.
    increments: BTreeMap<Segment, BTreeMap<u32, u64>>,
    /// Everything that was acknowledged before is in the archive.
    until: Timestamp,
}

/// How far the log was received at some moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Received {
    pub position: Lsn,
    /// Everything that was acknowledged before this moment lies before that position.
    pub until: Timestamp,
}

impl<'a> Keeper<'a> {
    /// Looks up what the archive has.
    pub async fn new(directory: PathBuf, archive: &'a Archive) -> Result<Self, EngineError> {
        let mut keeper = Self {
            directory,
            archive,
            whole: BTreeSet::new(),
            histories: BTreeSet::new(),
            increments: BTreeMap::new(),
            until: Timestamp::EPOCH,
        };
        for (name, piece) in archive.log.pieces().await? {
            keeper.until = keeper.until.max(piece.until);
            match name.parse() {
                Ok(PieceName::Whole(segment)) => drop(keeper.whole.insert(segment)),
                Ok(PieceName::History { timeline }) => drop(keeper.histories.insert(timeline)),
                Ok(PieceName::Increment { segment, offset }) => {
                    keeper.increments.entry(segment).or_default().insert(offset, piece.size);
                }
                // A later version may keep more than this one knows.
                Err(_) => {}
            }
        }
        Ok(keeper)
    }

    /// The newest position on a timeline that the archive has something of.
    pub fn end(&self, timeline: u32) -> Option<Lsn> {
        let whole = self.whole.iter().filter(|segment| segment.timeline == timeline).map(|segment| segment.end());
        let partial = self.increments.iter().filter(|(segment, _)| segment.timeline == timeline);
        let partial = partial.map(|(segment, increments)| Lsn(segment.begin().0 + contiguous(increments)));
        whole.chain(partial).max()
    }

    /// Keeps all that is there and was not kept. Where it is not known how far the log was received, nothing is said of how
    /// new it is.
    pub async fn keep(&mut self, received: Option<Received>) -> Result<(), EngineError> {
        let found = self.list().map_err(unreadable(&self.directory))?;
        for timeline in found.histories {
            self.keep_history(timeline).await?;
        }
        for segment in found.whole {
            let until = received.filter(|received| received.position <= segment.end()).map(|received| received.until);
            self.keep_whole(segment, until).await?;
        }
        if let Some(segment) = found.partial {
            self.keep_increment(segment, received.map(|received| received.until)).await?;
        }
        Ok(())
    }

    async fn keep_history(&mut self, timeline: u32) -> Result<(), EngineError> {
        if self.histories.contains(&timeline) {
            return Ok(());
        }
        let name = PieceName::History { timeline };
        let path = self.directory.join(name.to_string());
        // Its moment is when the timeline began: when this was written.
        self.record(name, &path, 0, None, Timestamp::now()).await?;
        self.histories.insert(timeline);
        Ok(())
    }

    async fn keep_whole(&mut self, segment: Segment, until: Option<Timestamp>) -> Result<(), EngineError> {
        let name = PieceName::Whole(segment);
        let path = self.directory.join(segment.to_string());
        if !self.whole.contains(&segment) {
            let until = self.until.max(until.unwrap_or(Timestamp::EPOCH));
            self.record(name, &path, 0, Some(SEGMENT_BYTES), until).await?;
            self.whole.insert(segment);
            self.until = until;
        }
        for offset in self.increments.remove(&segment).unwrap_or_default().into_keys() {
            self.archive.log.forget(&PieceName::Increment { segment, offset }.to_string()).await?;
        }
        tokio::fs::remove_file(&path).await.map_err(unreadable(&path))
    }

    async fn keep_increment(&mut self, segment: Segment, until: Option<Timestamp>) -> Result<(), EngineError> {
        let path = self.directory.join(format!("{segment}{PARTIAL}"));
        let kept = self.increments.get(&segment).map(contiguous).unwrap_or_default();
        let end = match written(&path, kept).await {
            // It became whole in between, and is kept as such the next time.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            end => end.map_err(unreadable(&path))?,
        };
        if end <= kept {
            return Ok(());
        }
        let many = self.increments.get(&segment).is_some_and(|increments| increments.len() >= MOST_INCREMENTS);
        let begin = if many { 0 } else { kept };
        let until = self.until.max(until.unwrap_or(Timestamp::EPOCH));
        let name = PieceName::Increment { segment, offset: begin as u32 };
        match self.record(name, &path, begin, Some(end - begin), until).await {
            Err(_) if !path.exists() => return Ok(()),
            recorded => recorded?,
        }
        self.until = until;
        let increments = self.increments.entry(segment).or_default();
        if many {
            let superseded: Vec<u32> = increments.keys().copied().filter(|offset| *offset != 0).collect();
            increments.retain(|offset, _| *offset == 0);
            increments.insert(0, end);
            for offset in superseded {
                self.archive.log.forget(&PieceName::Increment { segment, offset }.to_string()).await?;
            }
        } else {
            increments.insert(begin as u32, end - begin);
        }
        Ok(())
    }

    /// Keeps a part of a file, or all of it, as a piece.
    async fn record(
        &self,
        name: PieceName,
        path: &Path,
        offset: u64,
        length: Option<u64>,
        until: Timestamp,
    ) -> Result<(), EngineError> {
        let name = name.to_string();
        let source = stream::file(path, offset, length.unwrap_or(SEGMENT_BYTES)).await.map_err(unreadable(path))?;
        let receipt = self.archive.ingest(&format!("piece {name} of the log"), source).await?;
        if length.is_some_and(|length| length != receipt.size) {
            return Err(EngineError::transient(format!("{} has only {} bytes", path.display(), receipt.size)));
        }
        self.archive.log.record(&name, &LogPiece { address: receipt.address, size: receipt.size, until }).await
    }

    fn list(&self) -> io::Result<Found> {
        let mut found = Found::default();
        for entry in std::fs::read_dir(&self.directory)? {
            let name = entry?.file_name();
            let Some(name) = name.to_str() else { continue };
            if let Some(segment) = name.strip_suffix(PARTIAL) {
                found.partial = found.partial.max(segment.parse().ok());
                continue;
            }
            match name.parse() {
                Ok(PieceName::Whole(segment)) => found.whole.push(segment),
                Ok(PieceName::History { timeline }) => found.histories.push(timeline),
                _ => {}
            }
        }
        found.whole.sort();
        found.histories.sort_unstable();
        Ok(found)
    }
}

/// What lies in the directory.
#[derive(Debug, Default)]
struct Found {
    histories: Vec<u32>,
    whole: Vec<Segment>,
    partial: Option<Segment>,
}

/// How many bytes there are from the beginning without a gap.
fn contiguous(increments: &BTreeMap<u32, u64>) -> u64 {
    increments.iter().fold(0, |end, (offset, size)| match u64::from(*offset) {
        offset if offset <= end => end.max(offset + size),
        _ => end,
    })
}

/// Until where a file of a segment has been written, which is not before `from`. The rest of it is zero.
async fn written(path: &Path, from: u64) -> io::Result<u64> {
    let mut file = stream::open_regular(path)?;
    let mut page = [0; PAGE_BYTES];
    let mut at = from / PAGE_BYTES as u64 * PAGE_BYTES as u64;
    let mut end = from;
    file.seek(io::SeekFrom::Start(at)).await?;
    loop {
        match file.read_exact(&mut page).await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(end),
            read => read?,
        };
        // Zeros at the end are as good as nothing: what is put together is filled with them.
        let Some(last) = page.iter().rposition(|byte| *byte != 0) else { return Ok(end) };
        end = end.max(at + last as u64 + 1);
        at += PAGE_BYTES as u64;
    }
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> EngineError {
    let path = path.display().to_string();
    move |error| EngineError::transient_from(format!("{path}, received of the log, could not be read"), error)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use mainstay_engine::conformance::recovery::MemoryArchive;
    use mainstay_types::Timestamp;

    use super::{Keeper, MOST_INCREMENTS, PAGE_BYTES, Received, SEGMENT_BYTES, contiguous};
    use crate::recovery::wal::Lsn;

    const NAME: &str = "000000010000000000000003";

    fn received(position: u64) -> Option<Received> {
        Some(Received { position: Lsn(position), until: Timestamp::now() })
    }

    #[test]
    fn what_is_without_a_gap() {
        for (increments, expected) in
            [(vec![], 0), (vec![(0, 10), (10, 5)], 15), (vec![(0, 10), (11, 5)], 10), (vec![(0, 20), (10, 5)], 20)]
        {
            assert_eq!(contiguous(&increments.into_iter().collect::<BTreeMap<_, _>>()), expected);
        }
    }

    #[tokio::test]
    async fn a_segment_is_kept_bit_by_bit_and_then_whole() {
        let place = tempfile::tempdir().unwrap();
        let partial = place.path().join(format!("{NAME}.partial"));
        let memory = MemoryArchive::default();
        let archive = memory.archive();
        let mut keeper = Keeper::new(place.path().to_owned(), &archive).await.unwrap();
        let mut bytes = vec![0; SEGMENT_BYTES as usize];
        let begin = 3 * SEGMENT_BYTES;

        // Nothing was written, then within a page, then over several, of which one ends with zeros.
        for (end, names) in [(0, vec![]), (100, vec!["00000000"]), (3 * PAGE_BYTES - 7, vec!["00000000", "00000064"])] {
            bytes[..end].fill(1);
            std::fs::write(&partial, &bytes).unwrap();
            for _ in 0..2 {
                keeper.keep(received(begin + end as u64)).await.unwrap();
            }
            let names: Vec<String> = names.into_iter().map(|offset| format!("{NAME}.{offset}")).collect();
            assert_eq!(memory.log(), names);
        }
        assert_eq!(keeper.end(1), Some(Lsn(begin + 3 * PAGE_BYTES as u64 - 7)));

        // Many increments are put together, and the next control plane goes on where this one was.
        for page in 3..3 + 2 * MOST_INCREMENTS {
            bytes[..page * PAGE_BYTES].fill(1);
            std::fs::write(&partial, &bytes).unwrap();
            keeper.keep(received(begin)).await.unwrap();
            assert!(memory.log().len() <= MOST_INCREMENTS);
        }
        let mut keeper = Keeper::new(place.path().to_owned(), &archive).await.unwrap();
        assert_eq!(keeper.end(1), Some(Lsn(begin + ((2 + 2 * MOST_INCREMENTS) * PAGE_BYTES) as u64)));

        std::fs::remove_file(&partial).unwrap();
        std::fs::write(place.path().join(NAME), &bytes).unwrap();
        std::fs::write(place.path().join("00000002.history"), "1\t0/3000000\n").unwrap();
        keeper.keep(received(begin + SEGMENT_BYTES)).await.unwrap();
        assert_eq!(memory.log(), ["000000010000000000000003", "00000002.history"]);
        assert!(!place.path().join(NAME).exists(), "what is kept is not kept twice");
    }
}
