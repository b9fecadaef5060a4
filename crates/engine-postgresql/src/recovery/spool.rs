//! The directory that `pg_receivewal` writes into, as whoever keeps the log finds it.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use mainstay_engine::EngineError;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::stream;
use super::wal::{PieceName, SEGMENT_BYTES, Segment, System};

/// A page of the log begins with a header that is not zero, wherever it has been written (`XLOG_BLCKSZ`).
pub(super) const PAGE_BYTES: usize = 8_192;
/// What the name of a segment that is being received ends with.
const PARTIAL: &str = ".partial";

/// Segments that may lie there. With as many nothing more is received until they are kept: the server keeps the rest meanwhile, up to
/// its own bound (`max_slot_wal_keep_size`), and neither fills the disk.
const MOST_SEGMENTS: usize = 16;

/// What was received of the log.
#[derive(Debug, Clone)]
pub(super) struct Spool(PathBuf);

/// What lies there of one system's log.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub histories: Vec<u32>,
    pub whole: Vec<Segment>,
    pub partial: Option<Segment>,
}

// === impl Spool ===

impl Spool {
    pub fn new(directory: PathBuf) -> Self {
        Self(directory)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn history(&self, timeline: u32) -> PathBuf {
        self.0.join(PieceName::History { timeline }.to_string())
    }

    pub fn whole(&self, segment: Segment) -> PathBuf {
        self.0.join(segment.to_string())
    }

    pub fn partial(&self, segment: Segment) -> PathBuf {
        self.0.join(format!("{segment}{PARTIAL}"))
    }

    /// What is there of a system's log. A history does not say whose it is, and counts where there is nothing of another system.
    pub async fn find(&self, system: System) -> Result<Found, EngineError> {
        let mut found = self.list().map_err(unreadable(&self.0))?;
        let mut histories = std::mem::take(&mut found.histories);
        for segment in std::mem::take(&mut found.whole) {
            let path = self.whole(segment);
            match self.system_of(&path).await? {
                Some(of) if of == system => found.whole.push(segment),
                Some(_) => histories.clear(),
                None => {
                    let reason = format!("{} does not begin as a segment of the log does", path.display());
                    return Err(EngineError::permanent(reason, "see what is wrong with the disk, and remove the file"));
                }
            }
        }
        if let Some(segment) = found.partial {
            match self.system_of(&self.partial(segment)).await? {
                Some(of) if of == system => {}
                of => {
                    found.partial = None;
                    histories.retain(|_| of.is_none());
                }
            }
        }
        Ok(Found { histories, ..found })
    }

    /// Whether so much lies there that nothing more is to be received.
    pub fn is_full(&self) -> bool {
        self.list().is_ok_and(|found| found.whole.len() >= MOST_SEGMENTS)
    }

    /// Removes a segment that was begun on a full disk and has not its whole length: `pg_receivewal` would refuse it for ever.
    pub fn remove_stunted(&self) -> Result<(), EngineError> {
        let Some(segment) = self.list().map_err(unreadable(&self.0))?.partial else { return Ok(()) };
        let path = self.partial(segment);
        let removed = || match std::fs::symlink_metadata(&path)?.len() {
            SEGMENT_BYTES => Ok(()),
            _ => std::fs::remove_file(&path),
        };
        removed().map_err(unreadable(&path))
    }

    /// The systems that there is something of.
    pub async fn systems(&self) -> Result<BTreeSet<System>, EngineError> {
        let found = self.list().map_err(unreadable(&self.0))?;
        let mut systems = BTreeSet::new();
        let whole = found.whole.into_iter().map(|segment| self.whole(segment));
        for path in whole.chain(found.partial.map(|segment| self.partial(segment))) {
            systems.extend(self.system_of(&path).await?);
        }
        Ok(systems)
    }

    fn list(&self) -> io::Result<Found> {
        let mut found = Found::default();
        for entry in std::fs::read_dir(&self.0)? {
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

    /// Whose a file of a segment is; none where nothing was written into it yet, or where it is gone.
    async fn system_of(&self, path: &Path) -> Result<Option<System>, EngineError> {
        let read = async {
            let mut head = [0; System::HEAD_BYTES];
            stream::open_regular(path)?.read_exact(&mut head).await?;
            Ok::<_, io::Error>(System::of_segment(&head))
        };
        match read.await {
            // It became whole in between, and is looked at as such the next time; or it was just made.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof) => Ok(None),
            read => read.map_err(unreadable(path)),
        }
    }
}

/// Until where a file of a segment has been written, which is not before `from`. The rest of it is zero.
pub(super) async fn written(path: &Path, from: u64) -> io::Result<u64> {
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

pub(super) fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> EngineError {
    let path = path.display().to_string();
    move |error| EngineError::transient_from(format!("{path}, received of the log, could not be read"), error)
}
