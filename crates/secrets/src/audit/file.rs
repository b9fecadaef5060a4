//! The file that lines are appended to.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::audit::line::Line;

/// How often it is looked whether the file was moved away, as programs that rotate logs do.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Room for a line: most have half of this, and a longer one gets more.
const LINE_ROOM: usize = 2048;

/// The file that the audit log goes to.
pub struct AuditFile {
    path: PathBuf,
    open: Mutex<Open>,
}

struct Open {
    file: Option<File>,
    looked: Instant,
}

// === impl AuditFile ===

impl AuditFile {
    /// Opens the file, or makes it with mode 0600.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = Some(append_to(path)?);
        Ok(Self { path: path.to_owned(), open: Mutex::new(Open { file, looked: Instant::now() }) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Appends a line with one system call, so that lines of several requests do not mix.
    pub(crate) fn write(&self, entry: &Line<'_>) -> io::Result<()> {
        let mut line = Vec::with_capacity(LINE_ROOM);
        serde_json::to_writer(&mut line, entry)?;
        line.push(b'\n');
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.file.is_none() || open.looked.elapsed() >= LOOK_AGAIN {
            open.file = self.current(open.file.take())?.into();
            open.looked = Instant::now();
        }
        let Some(file) = &mut open.file else { return Err(io::ErrorKind::NotFound.into()) };
        let written = file.write_all(&line);
        if written.is_err() {
            // A part of the line may be there; the next one begins on a line of its own.
            open.file = None;
        }
        written
    }

    /// The file that the path means now.
    fn current(&self, file: Option<File>) -> io::Result<File> {
        if let Some(file) = file {
            let (ours, there) = (file.metadata()?, std::fs::metadata(&self.path));
            if there.is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino())) {
                return Ok(file);
            }
        }
        append_to(&self.path)
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new().create(true).append(true).read(true).mode(0o600).open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_file() && metadata.len() > 0 {
        // A line that a full disk has cut short is ended, so that it spoils no other.
        use std::os::unix::fs::FileExt;
        let mut last = [0];
        file.read_exact_at(&mut last, metadata.len() - 1)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    Ok(file)
}
