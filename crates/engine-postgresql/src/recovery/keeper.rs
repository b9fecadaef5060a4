//! Brings what `pg_receivewal` has written into the archive.
//!
//! A segment that is whole is one piece. The newest one is not whole for a long time where little is written; of that the
//! archive gets what is new, again and again, as increments, which are forgotten once the segment is whole.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use mainstay_dataplane::Receipt;
use mainstay_engine::EngineError;
use mainstay_engine::recovery::{Archive, LogPiece};
use mainstay_types::Timestamp;

use super::spool::{Spool, unreadable, written};
use super::stream;
use super::wal::{LogName, Lsn, PieceName, SEGMENT_BYTES, Segment, System};

/// Increments of one segment. One more, and they are put together: a restore reads each, and the catalogue holds each.
const MOST_INCREMENTS: usize = 32;

/// What is in the archive already of one system's log.
pub(super) struct Keeper<'a> {
    spool: Spool,
    archive: &'a Archive,
    system: System,
    kept: BTreeMap<PieceName, LogPiece>,
    /// Of those the ones that were seen to be what was received: this has recorded them, or compared them.
    confirmed: BTreeSet<PieceName>,
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
    /// Looks up what the archive has. Of other systems of the same cluster, and of what an older version recorded of nobody knows whom,
    /// nothing counts.
    pub async fn new(spool: Spool, archive: &'a Archive, system: System) -> Result<Self, EngineError> {
        let mut kept = BTreeMap::new();
        for (name, piece) in archive.log.pieces().await? {
            // A later version may keep more than this one knows.
            let Ok(LogName { system: of, piece: name }) = name.parse() else { continue };
            if of == Some(system) {
                kept.insert(name, piece);
            }
        }
        let until = kept.values().map(|piece| piece.until).max().unwrap_or(Timestamp::EPOCH);
        Ok(Self { spool, archive, system, kept, confirmed: BTreeSet::new(), until })
    }

    /// The newest position on a timeline that the archive has something of.
    pub fn end(&self, timeline: u32) -> Option<Lsn> {
        let end = |name: &PieceName| match name {
            PieceName::Whole(segment) if segment.timeline == timeline => Some(segment.end()),
            PieceName::Increment { segment, .. } if segment.timeline == timeline => {
                Some(Lsn(segment.begin().0 + contiguous(&self.increments(*segment))))
            }
            _ => None,
        };
        self.kept.keys().filter_map(end).max()
    }

    /// Until where whole segments follow one another in the archive from the one on that a position lies in; none where that one is
    /// not there.
    pub fn whole_from(&self, timeline: u32, position: Lsn) -> Option<Lsn> {
        let segments = (position.segment()..).map(|number| Segment { timeline, number });
        segments.take_while(|segment| self.kept.contains_key(&PieceName::Whole(*segment))).last().map(Segment::end)
    }

    /// Keeps all that is there and was not kept. Where it is not known how far the log was received, nothing is said of how
    /// new it is.
    pub async fn keep(&mut self, received: Option<Received>) -> Result<(), EngineError> {
        let found = self.spool.find(self.system).await?;
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
        let (name, path) = (PieceName::History { timeline }, self.spool.history(timeline));
        if self.kept.contains_key(&name) {
            return self.confirm(name, &path).await;
        }
        // Its moment is when the timeline began: when this was written.
        self.record(name, &path, None, Timestamp::now()).await
    }

    async fn keep_whole(&mut self, segment: Segment, until: Option<Timestamp>) -> Result<(), EngineError> {
        let (name, path) = (PieceName::Whole(segment), self.spool.whole(segment));
        self.confirm_increments(segment, &path).await?;
        if self.kept.contains_key(&name) {
            // Received once more, which it is after a crash.
            self.confirmed.remove(&name);
            self.confirm(name, &path).await?;
        } else {
            let until = self.until.max(until.unwrap_or(Timestamp::EPOCH));
            self.record(name, &path, Some(SEGMENT_BYTES), until).await?;
        }
        for offset in self.increments(segment).into_keys() {
            self.forget(PieceName::Increment { segment, offset }).await?;
        }
        tokio::fs::remove_file(&path).await.map_err(unreadable(&path))
    }

    async fn keep_increment(&mut self, segment: Segment, until: Option<Timestamp>) -> Result<(), EngineError> {
        let path = self.spool.partial(segment);
        let increments = self.increments(segment);
        let kept = contiguous(&increments);
        let end = match written(&path, kept).await {
            // It became whole in between, and is kept as such the next time.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            end => end.map_err(unreadable(&path))?,
        };
        if end <= kept {
            return Ok(());
        }
        let many = increments.len() >= MOST_INCREMENTS;
        let begin = if many { 0 } else { kept };
        let until = self.until.max(until.unwrap_or(Timestamp::EPOCH));
        let name = PieceName::Increment { segment, offset: begin as u32 };
        let kept = async {
            self.confirm_increments(segment, &path).await?;
            self.record(name, &path, Some(end - begin), until).await
        };
        match kept.await {
            Err(_) if !path.exists() => return Ok(()),
            kept => kept?,
        }
        if many {
            for offset in increments.into_keys().filter(|offset| *offset != 0) {
                self.forget(PieceName::Increment { segment, offset }).await?;
            }
        }
        Ok(())
    }

    /// The increments of a segment: their offsets and sizes.
    fn increments(&self, segment: Segment) -> BTreeMap<u32, u64> {
        let increment = |offset| PieceName::Increment { segment, offset };
        let increments = self.kept.range(increment(0)..=increment(u32::MAX));
        increments
            .filter_map(|(name, piece)| match name {
                PieceName::Increment { offset, .. } => Some((*offset, piece.size)),
                _ => None,
            })
            .collect()
    }

    async fn confirm_increments(&mut self, segment: Segment, path: &Path) -> Result<(), EngineError> {
        for offset in self.increments(segment).into_keys() {
            self.confirm(PieceName::Increment { segment, offset }, path).await?;
        }
        Ok(())
    }

    /// Sees to it that what an earlier keeper recorded is what was received. Data that was put back by other means than a restore, and
    /// then written to, has a log of the same name that is another one: neither is taken for the other.
    async fn confirm(&mut self, name: PieceName, path: &Path) -> Result<(), EngineError> {
        let Some(kept) = self.kept.get(&name).filter(|_| !self.confirmed.contains(&name)).cloned() else {
            return Ok(());
        };
        let received = self.ingest(name, path, Some(kept.size)).await?;
        if received.address != kept.address {
            let name = self.name(name);
            return Err(differs(format!(
                "piece {name} of the log is in the repository with other contents than it has now"
            )));
        }
        self.confirmed.insert(name);
        Ok(())
    }

    /// Keeps what a name says of a file, as a piece.
    async fn record(
        &mut self,
        name: PieceName,
        path: &Path,
        length: Option<u64>,
        until: Timestamp,
    ) -> Result<(), EngineError> {
        let receipt = self.ingest(name, path, length).await?;
        if length.is_some_and(|length| length != receipt.size) {
            return Err(EngineError::transient(format!("{} has only {} bytes", path.display(), receipt.size)));
        }
        let piece =
            LogPiece { address: receipt.address, size: receipt.size, until, system: Some(self.system.to_string()) };
        self.archive.log.record(&self.name(name).to_string(), &piece).await?;
        self.until = self.until.max(until);
        self.kept.insert(name, piece);
        self.confirmed.insert(name);
        Ok(())
    }

    async fn ingest(&self, name: PieceName, path: &Path, length: Option<u64>) -> Result<Receipt, EngineError> {
        let offset = match name {
            PieceName::Increment { offset, .. } => u64::from(offset),
            PieceName::History { .. } | PieceName::Whole(_) => 0,
        };
        let source = stream::file(path, offset, length.unwrap_or(SEGMENT_BYTES)).await.map_err(unreadable(path))?;
        self.archive.ingest_log(&format!("piece {name} of the log"), source).await
    }

    async fn forget(&mut self, name: PieceName) -> Result<(), EngineError> {
        self.archive.log.forget(&self.name(name).to_string()).await?;
        self.kept.remove(&name);
        self.confirmed.remove(&name);
        Ok(())
    }

    fn name(&self, piece: PieceName) -> LogName {
        LogName { system: Some(self.system), piece }
    }
}

/// What is kept under some names is not what the server writes under them.
pub(super) fn differs(what: String) -> EngineError {
    EngineError::permanent(
        format!(
            "{what}: its data was put back by other means than a restore, or a copy of it was written to. Nothing is thrown away, and \
             nothing that is written now is backed up"
        ),
        "name another place in Recovery:Repository for its backups, or bring the cluster back from those that there are",
    )
}

/// How many bytes there are from the beginning without a gap.
fn contiguous(increments: &BTreeMap<u32, u64>) -> u64 {
    increments.iter().fold(0, |end, (offset, size)| match u64::from(*offset) {
        offset if offset <= end => end.max(offset + size),
        _ => end,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use mainstay_engine::conformance::recovery::MemoryArchive;
    use mainstay_engine::recovery::Archive;
    use mainstay_types::Timestamp;

    use super::{Keeper, MOST_INCREMENTS, Received, SEGMENT_BYTES, Spool, System, contiguous};
    use crate::recovery::spool::PAGE_BYTES;
    use crate::recovery::wal::Lsn;

    const NAME: &str = "000000010000000000000003";
    const ONE: System = System(0x1111_2222_3333_4444);
    const OTHER: System = System(0x5555_6666_7777_8888);

    fn received(position: u64) -> Option<Received> {
        Some(Received { position: Lsn(position), until: Timestamp::now() })
    }

    async fn keeper<'a>(place: &Path, archive: &'a Archive, system: System) -> Keeper<'a> {
        Keeper::new(Spool::new(place.to_owned()), archive, system).await.unwrap()
    }

    /// A segment of a system, of which so many bytes are written.
    fn segment(system: System, written: usize, byte: u8) -> Vec<u8> {
        let mut bytes = vec![0; SEGMENT_BYTES as usize];
        bytes[..written].fill(byte);
        if written >= System::HEAD_BYTES {
            bytes[2..4].copy_from_slice(&2_u16.to_ne_bytes());
            bytes[24..32].copy_from_slice(&system.0.to_ne_bytes());
            bytes[32..36].copy_from_slice(&(SEGMENT_BYTES as u32).to_ne_bytes());
        }
        bytes
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
        let mut first = keeper(place.path(), &archive, ONE).await;
        let begin = 3 * SEGMENT_BYTES;

        // Nothing was written, then within a page, then over several, of which one ends with zeros.
        for (end, names) in [(0, vec![]), (100, vec!["00000000"]), (3 * PAGE_BYTES - 7, vec!["00000000", "00000064"])] {
            std::fs::write(&partial, segment(ONE, end, 1)).unwrap();
            for _ in 0..2 {
                first.keep(received(begin + end as u64)).await.unwrap();
            }
            let names: Vec<String> =
                names.into_iter().map(|offset| format!("1111222233334444-{NAME}.{offset}")).collect();
            assert_eq!(memory.log(), names);
        }
        assert_eq!(first.end(1), Some(Lsn(begin + 3 * PAGE_BYTES as u64 - 7)));

        // Many increments are put together, and the next control plane goes on where this one was.
        for page in 3..3 + 2 * MOST_INCREMENTS {
            std::fs::write(&partial, segment(ONE, page * PAGE_BYTES, 1)).unwrap();
            first.keep(received(begin)).await.unwrap();
            assert!(memory.log().len() <= MOST_INCREMENTS);
        }
        let mut next = keeper(place.path(), &archive, ONE).await;
        assert_eq!(next.end(1), Some(Lsn(begin + ((2 + 2 * MOST_INCREMENTS) * PAGE_BYTES) as u64)));

        let whole = segment(ONE, (2 + 2 * MOST_INCREMENTS) * PAGE_BYTES, 1);
        std::fs::remove_file(&partial).unwrap();
        std::fs::write(place.path().join("00000002.history"), "1\t0/3000000\n").unwrap();
        for _ in 0..2 {
            // Received once more after a crash it is the same.
            std::fs::write(place.path().join(NAME), &whole).unwrap();
            next.keep(received(begin + SEGMENT_BYTES)).await.unwrap();
            assert_eq!(memory.log(), [format!("1111222233334444-{NAME}"), "1111222233334444-00000002.history".into()]);
            assert!(!place.path().join(NAME).exists(), "what is kept is not kept twice");
        }
    }

    #[tokio::test]
    async fn a_segment_of_another_system_is_no_segment_of_this_one() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join(NAME);
        let memory = MemoryArchive::default();
        let archive = memory.archive();
        std::fs::write(&file, segment(ONE, 100, 1)).unwrap();
        keeper(place.path(), &archive, OTHER).await.keep(None).await.unwrap();
        assert!(file.exists() && memory.log().is_empty(), "it is left to whoever keeps that system's log");
        assert_eq!(Spool::new(place.path().to_owned()).systems().await.unwrap(), [ONE].into());
        keeper(place.path(), &archive, ONE).await.keep(None).await.unwrap();

        // One of that name, of a cluster that was made anew, is a piece of its own.
        std::fs::write(&file, segment(OTHER, 100, 2)).unwrap();
        let mut anew = keeper(place.path(), &archive, OTHER).await;
        assert_eq!(anew.end(1), None);
        anew.keep(None).await.unwrap();
        assert_eq!(memory.log(), [format!("1111222233334444-{NAME}"), format!("5555666677778888-{NAME}")]);
        assert!(!file.exists());
    }

    #[tokio::test]
    async fn what_differs_from_what_is_kept_is_neither_removed_nor_put_in_its_place() {
        let place = tempfile::tempdir().unwrap();
        let (file, partial) = (place.path().join(NAME), place.path().join(format!("{NAME}.partial")));
        let memory = MemoryArchive::default();
        let archive = memory.archive();
        std::fs::write(&partial, segment(ONE, 100, 1)).unwrap();
        keeper(place.path(), &archive, ONE).await.keep(None).await.unwrap();
        let before = memory.archive().log.pieces().await.unwrap();

        let differs = |refused: Result<(), mainstay_engine::EngineError>| {
            let refused = refused.unwrap_err().to_string();
            assert!(
                refused.contains(&format!("1111222233334444-{NAME}")) && refused.contains("other contents"),
                "{refused}"
            );
        };
        std::fs::write(&partial, segment(ONE, 200, 2)).unwrap();
        differs(keeper(place.path(), &archive, ONE).await.keep(None).await);
        std::fs::rename(&partial, &file).unwrap();
        differs(keeper(place.path(), &archive, ONE).await.keep(None).await);
        assert_eq!(memory.archive().log.pieces().await.unwrap(), before);

        std::fs::write(&file, segment(ONE, 200, 1)).unwrap();
        keeper(place.path(), &archive, ONE).await.keep(None).await.unwrap();
        let before = memory.archive().log.pieces().await.unwrap();
        std::fs::write(&file, segment(ONE, 200, 2)).unwrap();
        differs(keeper(place.path(), &archive, ONE).await.keep(None).await);
        assert_eq!(memory.archive().log.pieces().await.unwrap(), before);
        assert!(file.exists());
    }
}
