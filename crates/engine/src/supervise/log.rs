//! The file that an engine's output goes to.
//!
//! The engine holds the file open for appending, so that it never waits for us and goes on writing when we are
//! gone. It is therefore rotated by copying and truncating: what is written between the two steps is lost, and
//! the alternative, a pipe through us, would lose the engine.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use super::directory::ClusterDirectory;

/// A log is rotated when it is larger: enough for days of a healthy engine, and read in one go.
const ROTATE_BYTES: u64 = 16 << 20;
/// Rotated files that are kept beside the current one, so that a log takes 80 MiB at most.
const KEPT_FILES: usize = 4;
/// How much of the end of the log is looked at for its last lines.
const TAIL_BYTES: u64 = 16 << 10;

/// The log of one cluster's engine.
#[derive(Debug, Clone)]
pub struct EngineLog {
    path: PathBuf,
}

impl EngineLog {
    /// The log of a cluster.
    pub fn new(directory: &ClusterDirectory) -> Self {
        Self { path: directory.log() }
    }

    /// The log opened for appending, for an engine's output.
    pub fn open(&self) -> io::Result<File> {
        OpenOptions::new().create(true).append(true).mode(0o600).open(&self.path)
    }

    /// Where the log ends now; what comes later is after this.
    pub fn position(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |metadata| metadata.len())
    }

    /// The last lines that were written after a position, joined by ` | `, to say why something failed.
    pub fn last_lines(&self, count: usize, after: u64) -> String {
        let tail = self.tail(after).unwrap_or_default();
        let lines: Vec<&str> = tail.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        lines[lines.len().saturating_sub(count)..].join(" | ")
    }

    /// Rotates the log when it has grown too large.
    pub fn rotate(&self) -> io::Result<()> {
        self.rotate_above(ROTATE_BYTES)
    }

    fn rotate_above(&self, limit: u64) -> io::Result<()> {
        if self.position() <= limit {
            return Ok(());
        }
        for number in (1..KEPT_FILES).rev() {
            match fs::rename(self.rotated(number), self.rotated(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        let copied = fs::copy(&self.path, self.rotated(1));
        // Truncated even when there is no room for the copy: a log that grows on a full disk helps nobody.
        OpenOptions::new().write(true).open(&self.path)?.set_len(0)?;
        copied.map(drop)
    }

    fn rotated(&self, number: usize) -> PathBuf {
        self.path.with_extension(format!("log.{number}"))
    }

    fn tail(&self, after: u64) -> io::Result<String> {
        let mut file = File::open(&self.path)?;
        let length = file.metadata()?.len();
        // A log that is shorter than the position was rotated since.
        let after = if after <= length { after } else { 0 };
        file.seek(SeekFrom::Start(after.max(length.saturating_sub(TAIL_BYTES))))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use super::{EngineLog, KEPT_FILES};

    #[test]
    fn rotation_is_bounded_and_the_writer_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let log = EngineLog { path: directory.path().join("engine.log") };
        let mut writer = log.open().unwrap();
        for round in 0..10 {
            writeln!(writer, "round {round}").unwrap();
            log.rotate_above(3).unwrap();
            assert_eq!(log.position(), 0);
        }
        writeln!(writer, "after").unwrap();
        assert_eq!(fs::read_to_string(&log.path).unwrap(), "after\n");
        assert_eq!(fs::read_to_string(log.rotated(1)).unwrap(), "round 9\n");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1 + KEPT_FILES);
    }

    #[test]
    fn the_last_lines_after_a_position() {
        let directory = tempfile::tempdir().unwrap();
        let log = EngineLog { path: directory.path().join("engine.log") };
        assert_eq!(log.last_lines(3, 0), "");
        let mut writer = log.open().unwrap();
        writer.write_all(b"one\ntwo\n").unwrap();
        let position = log.position();
        assert_eq!(log.last_lines(3, position), "");
        writer.write_all(b"three\n\nfour\n").unwrap();
        assert_eq!(log.last_lines(3, position), "three | four");
        assert_eq!(log.last_lines(1, 0), "four");
    }
}
