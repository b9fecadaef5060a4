//! Contents that were found damaged.

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use mainstay_dataplane::Address;

/// How many are remembered. A disk with more of them needs another remedy than ingesting anew.
const MAX_REMEMBERED: usize = 4096;

/// Remembers what is damaged, so that the next ingest of the same content stores it anew instead of claiming what is
/// not there.
///
/// A file has an address on each line: whoever brings back what a scrub has named may have restarted in between. It is
/// written in passing and never synchronised, for whatever it has lost the next scrub finds again.
#[derive(Debug)]
pub(crate) struct Damaged {
    path: PathBuf,
    known: Mutex<HashSet<Address>>,
}

impl Damaged {
    /// Those that were known when the store was closed, or its process ended.
    pub(crate) fn open(path: PathBuf) -> io::Result<Self> {
        let text = match std::fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read?,
        };
        // A line that was cut off is none.
        let lines = text.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok()?.parse().ok());
        let known = lines.take(MAX_REMEMBERED).collect();
        Ok(Self { path, known: Mutex::new(known) })
    }

    pub(crate) fn len(&self) -> usize {
        self.known().len()
    }

    pub(crate) fn contains(&self, address: &Address) -> bool {
        self.known().contains(address)
    }

    /// Remembers a content, and says whether it was not known to be damaged before.
    pub(crate) fn insert(&self, address: Address) -> bool {
        let mut known = self.known();
        if known.len() >= MAX_REMEMBERED {
            return !known.contains(&address);
        }
        let is_new = known.insert(address);
        if is_new {
            self.told(append(&self.path, &address));
        }
        is_new
    }

    /// It was stored anew.
    pub(crate) fn remove(&self, address: &Address) {
        let mut known = self.known();
        if known.remove(address) {
            self.told(replace(&self.path, &known));
        }
    }

    fn known(&self) -> MutexGuard<'_, HashSet<Address>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn told(&self, written: io::Result<()>) {
        if let Err(error) = written {
            tracing::warn!(path = %self.path.display(), %error, "what is damaged is forgotten with the next restart");
        }
    }
}

fn append(path: &Path, address: &Address) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    // A line before it that was cut off stays by itself.
    file.write_all(format!("\n{address}\n").as_bytes())
}

fn replace(path: &Path, known: &HashSet<Address>) -> io::Result<()> {
    if known.is_empty() {
        return std::fs::remove_file(path);
    }
    let text: String = known.iter().map(|address| format!("{address}\n")).collect();
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(text.as_bytes())?;
    std::fs::rename(new, path)
}
