//! Files in a directory of this machine.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use mainstay_types::Timestamp;

use super::{Failure, Listed, UNFINISHED, unfinished};
use crate::blocking;

/// What is in a backup is nobody else's business, sealed or not.
const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// A directory, which need not be there before the first write.
#[derive(Clone)]
pub(crate) struct Directory {
    root: Arc<Path>,
}

impl Directory {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root: root.into() }
    }

    pub(super) async fn read(&self, path: &str, range: Option<Range<u64>>) -> Result<Option<Vec<u8>>, Failure> {
        self.run("read", path, move |file| match File::open(&file) {
            Ok(file) => read(&file, range).map(Some),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        })
        .await
    }

    pub(super) async fn write(&self, path: &str, bytes: Bytes) -> Result<(), Failure> {
        let root = Arc::clone(&self.root);
        self.run("write", path, move |file| write(&root, &file, &bytes)).await
    }

    pub(super) async fn remove(&self, path: &str) -> Result<(), Failure> {
        self.run("remove", path, |file| match fs::remove_file(file) {
            Err(error) if !is_absent(&error) => Err(error),
            _ => Ok(()),
        })
        .await
    }

    pub(super) async fn list(&self, folder: &str) -> Result<Vec<Listed>, Failure> {
        let name = folder.to_owned();
        self.run("list", folder, move |folder| {
            let mut listed = Vec::new();
            list(&folder, &name, &mut listed)?;
            Ok(listed)
        })
        .await
    }

    pub(super) async fn anything(&self) -> Result<Option<String>, Failure> {
        self.run("list", "", |root| match fs::read_dir(root) {
            Ok(entries) => {
                let names: io::Result<Vec<_>> = entries.map(|entry| Ok(entry?.file_name())).collect();
                let harmless = |name: &str| name == "lost+found" || name == UNFINISHED.trim_end_matches('/');
                let mut names = names?.into_iter().map(|name| name.to_string_lossy().into_owned());
                Ok(names.find(|name| !harmless(name)))
            }
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        })
        .await
    }

    pub(super) async fn free_bytes(&self) -> Option<u64> {
        let root = Arc::clone(&self.root);
        let found = blocking(move || rustix::fs::statvfs(&*root)).await.ok()?;
        Some(found.f_bavail.saturating_mul(found.f_frsize))
    }

    async fn run<T: Send + 'static>(
        &self,
        verb: &'static str,
        path: &str,
        work: impl FnOnce(PathBuf) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Failure> {
        let file = self.root.join(path);
        blocking(move || {
            let what = format!("cannot {verb} {}", file.display());
            work(file).map_err(|error| Failure::of_io(&what, &error))
        })
        .await
    }
}

fn read(file: &File, range: Option<Range<u64>>) -> io::Result<Vec<u8>> {
    let end = file.metadata()?.len();
    let range = range.map_or(0..end, |range| range.start.min(end)..range.end.min(end));
    let mut bytes = vec![0; (range.end - range.start) as usize];
    file.read_exact_at(&mut bytes, range.start)?;
    Ok(bytes)
}

/// Writes beside, makes it durable, gives it its name, and makes that durable.
fn write(root: &Path, file: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = root.join(unfinished());
    let folder = file.parent().expect("a file of the repository lies below its root");
    make_folder(unfinished.parent().expect("an unfinished file lies in its folder"))?;
    make_folder(folder)?;
    let written = write_new(&unfinished, bytes).and_then(|()| fs::rename(&unfinished, file));
    if written.is_err() {
        // That it cannot be removed either is found when room is reclaimed.
        let _ = fs::remove_file(&unfinished);
    }
    written?;
    File::open(folder)?.sync_all()
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes a folder and those above it, each durably, where they are not there.
fn make_folder(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(DIRECTORY_MODE).create(folder) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let Some(above) = folder.parent() else { return Err(error) };
            make_folder(above)?;
            return make_folder(folder);
        }
        made => made?,
    }
    match folder.parent() {
        Some(above) => File::open(above)?.sync_all(),
        None => Ok(()),
    }
}

/// Files that vanish meanwhile are not listed.
fn list(folder: &Path, name: &str, listed: &mut Vec<Listed>) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if is_absent(&error) => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let Some(path) = entry.file_name().to_str().map(|file| format!("{name}{file}")) else { continue };
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            Err(error) if is_absent(&error) => continue,
            Err(error) => return Err(error),
        };
        if metadata.is_dir() {
            list(&entry.path(), &format!("{path}/"), listed)?;
        } else if metadata.is_file() {
            let modified = metadata.modified().ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
            let modified = modified.map(|since| Timestamp::from_micros(since.as_micros() as i64));
            listed.push(Listed { path, len: metadata.len(), modified });
        }
    }
    Ok(())
}

fn is_absent(error: &io::Error) -> bool {
    error.kind() == ErrorKind::NotFound
}
