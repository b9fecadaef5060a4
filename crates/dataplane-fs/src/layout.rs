//! Where everything lies in the store's directory.
//!
//! ```text
//! format            what it is, and its version
//! lock              held by the process that works here
//! packs/N.pack      the log
//! files/XX/A-N      large content: A its address, XX the address's first digits, N the file's number
//! incoming/N        large content that is coming in
//! index.redb        what the log leads to; made anew when it is missing
//! damaged           addresses of what was found damaged and not stored anew since, one on each line
//! index.behind      is there while the index must not be gone by: the disk was too full to write it
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mainstay_dataplane::Address;
use rustix::fs::{FlockOperation, flock, fsync};
use rustix::io::Errno;

use crate::OpenError;
use crate::entry::FileRef;

/// What the format file says. A later format says another number.
const FORMAT: &str = "mainstay seed-fs 1\n";

/// The paths of a store.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    root: PathBuf,
}

/// How long a process that works here already may take to end.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often it is looked whether it has ended.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Held by the one process that works in a store.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
    was_left: bool,
}

impl Lock {
    /// Whether the process before had left everything in order.
    pub(crate) fn was_left(&self) -> bool {
        self.was_left
    }

    /// Notes that everything is in order.
    pub(crate) fn leave(&self) -> io::Result<()> {
        self.file.set_len(0)
    }
}

impl Layout {
    /// Takes a directory as a store, and makes it one where it is empty.
    pub(crate) fn open(root: &Path) -> Result<(Self, Lock), OpenError> {
        let layout = Self { root: root.to_owned() };
        make_directory(root)?;
        let path = root.join("format");
        match fs::read_to_string(&path) {
            Ok(format) if format == FORMAT => {}
            Ok(found) => {
                let found = found.chars().take(80).collect();
                return Err(OpenError::Format { directory: root.to_owned(), found });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => layout.is_empty()?,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(OpenError::Format { directory: root.to_owned(), found: "bytes that are no text".into() });
            }
            Err(error) => return Err(OpenError::at(path)(error)),
        }
        let lock = layout.lock()?;
        for directory in [layout.packs(), layout.files(), layout.incoming()] {
            make_directory(&directory)?;
        }
        layout.write_format(&path).map_err(OpenError::at(path))?;
        Ok((layout, lock))
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn packs(&self) -> PathBuf {
        self.root.join("packs")
    }

    pub(crate) fn files(&self) -> PathBuf {
        self.root.join("files")
    }

    pub(crate) fn index(&self) -> PathBuf {
        self.root.join("index.redb")
    }

    pub(crate) fn damaged(&self) -> PathBuf {
        self.root.join("damaged")
    }

    pub(crate) fn incoming(&self) -> PathBuf {
        self.root.join("incoming")
    }

    /// Where content lies that has a file.
    pub(crate) fn file(&self, address: &Address, file: FileRef) -> PathBuf {
        let digest = address.digest().to_string();
        self.files().join(&digest[..2]).join(format!("{digest}-{}", file.number))
    }

    /// A directory without a format file is new, or its first opening was interrupted.
    fn is_empty(&self) -> Result<(), OpenError> {
        const OURS: [&str; 4] = ["lock", "packs", "files", "incoming"];
        for found in fs::read_dir(&self.root).map_err(OpenError::at(&self.root))? {
            let name = found.map_err(OpenError::at(&self.root))?.file_name();
            // A file system of its own brings a directory for what its checks find.
            if !OURS.iter().any(|ours| name == *ours) && name != "lost+found" {
                return Err(OpenError::NotAStore(self.root.clone()));
            }
        }
        Ok(())
    }

    fn lock(&self) -> Result<Lock, OpenError> {
        let path = self.root.join("lock");
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.map_err(OpenError::at(&path))?;
        let began = Instant::now();
        while let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
            if error != Errno::WOULDBLOCK {
                return Err(OpenError::at(path)(error.into()));
            }
            if began.elapsed() >= PATIENCE {
                return Err(OpenError::InUse(self.root.clone()));
            }
            std::thread::sleep(LOOK_EVERY);
        }
        // The file is empty while nobody works here; what a process that is killed leaves in it says that it was.
        let was_left = file.metadata().map_err(OpenError::at(&path))?.len() == 0;
        file.write_all_at(format!("{}\n", std::process::id()).as_bytes(), 0).map_err(OpenError::at(&path))?;
        Ok(Lock { file, was_left })
    }

    /// Written last, so that what has a format is whole.
    fn write_format(&self, path: &Path) -> io::Result<()> {
        if path.exists() {
            return Ok(());
        }
        let new = self.root.join("incoming").join("format");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(FORMAT.as_bytes())?;
        fsync(&file)?;
        fs::rename(&new, path)?;
        Ok(fsync(File::open(&self.root)?)?)
    }
}

/// Makes a directory, for its owner alone, with all above it; durable.
fn make_directory(path: &Path) -> Result<(), OpenError> {
    if path.is_dir() {
        return Ok(());
    }
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    let made = made.and_then(|()| match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => Ok(fsync(File::open(parent)?)?),
        None => Ok(()),
    });
    made.map_err(OpenError::at(path))
}
