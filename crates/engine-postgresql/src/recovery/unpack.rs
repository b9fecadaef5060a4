//! Lays out a data directory from the archive that a backup is, with little memory however large it is.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, chown, fchown};
use std::path::{Component, Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};

use bytes::{Buf, Bytes};
use futures::StreamExt;
use mainstay_engine::EngineError;
use mainstay_engine::recovery::Kept;
use mainstay_engine::supervise::EngineUser;
use tar::EntryType;
use tokio::sync::mpsc;

/// Pieces of the stream that may wait for the disk. Each is a few mebibytes at most.
const WAITING_PIECES: usize = 4;
/// How much is written at once.
const WRITE_BYTES: usize = 1 << 20;
/// How much of a file is written before the disk is asked to take it, while the rest is written: it then works from the
/// beginning on, and little is left for the end.
const BEHIND_BYTES: u64 = 32 << 20;

/// Unpacks into an empty directory that belongs to the engine's user, and answers how many files there are. What is to last
/// begins its way to the disk meanwhile; that it has got there is for [`sync`] to tell.
///
/// Until everything is there the directory is closed to that user: what we write as root must not lead anywhere else.
pub(super) async fn unpack(
    mut kept: Kept,
    directory: PathBuf,
    user: &EngineUser,
    lasting: bool,
) -> Result<u64, EngineError> {
    let (sender, receiver) = mpsc::channel(WAITING_PIECES);
    let writing = tokio::task::spawn_blocking({
        let (uid, gid) = (user.uid, user.gid);
        move || write(Pieces { receiver, current: Bytes::new() }, &directory, uid, gid, lasting)
    });
    let mut broken = None;
    while let Some(piece) = kept.next().await {
        let piece = match piece {
            Ok(piece) => piece,
            Err(error) => {
                broken = Some(error);
                break;
            }
        };
        // Whoever writes has ended, and says why.
        if sender.send(piece).await.is_err() {
            break;
        }
    }
    drop(sender);
    let written = writing.await.unwrap_or_else(|error| Err(io::Error::other(error)));
    if let Some(broken) = broken {
        return Err(broken);
    }
    written.map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => EngineError::permanent(
            format!("the backup is no archive of a data directory: {error}"),
            "restore another backup",
        ),
        _ => EngineError::transient_from("the backup could not be unpacked", error),
    })
}

fn write(pieces: Pieces, directory: &Path, uid: u32, gid: u32, lasting: bool) -> io::Result<u64> {
    std::thread::scope(|scope| {
        let (disk, behind) = sync_channel::<File>(1);
        let syncing = scope.spawn(move || behind.into_iter().try_for_each(|file| file.sync_data()));
        let written = write_files(pieces, directory, uid, gid, lasting.then_some(&disk));
        drop(disk);
        syncing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).and(written)
    })
}

fn write_files(
    pieces: Pieces,
    directory: &Path,
    uid: u32,
    gid: u32,
    disk: Option<&SyncSender<File>>,
) -> io::Result<u64> {
    let ourselves = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    chown(directory, Some(ourselves.0), Some(ourselves.1))?;
    let mut archive = tar::Archive::new(pieces);
    let (mut files, mut buffer) = (0, vec![0; WRITE_BYTES]);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = directory.join(inner_path(&entry.path()?)?);
        match entry.header().entry_type() {
            EntryType::Directory => {
                DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
                if path != directory {
                    chown(&path, Some(uid), Some(gid))?;
                }
            }
            EntryType::Regular => {
                // Never one that is there already.
                let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
                fchown(&file, Some(uid), Some(gid))?;
                let size = entry.size();
                if copy(&mut entry, &mut file, &mut buffer, disk)? != size {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ends within a file"));
                }
                files += 1;
            }
            _ => {
                let reason = format!("{} is neither a file nor a directory", path.display());
                return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
            }
        }
    }
    // What follows the archive's end belongs to what its digest is of.
    io::copy(&mut archive.into_inner(), &mut io::sink())?;
    if files == 0 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "there is no file in it"));
    }
    chown(directory, Some(uid), Some(gid))?;
    Ok(files)
}

fn copy(from: &mut impl Read, to: &mut File, buffer: &mut [u8], disk: Option<&SyncSender<File>>) -> io::Result<u64> {
    let (mut copied, mut asked) = (0, 0);
    loop {
        let length = from.read(buffer)?;
        if length == 0 {
            return Ok(copied);
        }
        io::Write::write_all(to, &buffer[..length])?;
        copied += length as u64;
        if let Some(disk) = disk
            && copied - asked >= BEHIND_BYTES
            // Where it is busy still it is asked with what comes next.
            && disk.try_send(to.try_clone()?).is_ok()
        {
            asked = copied;
        }
    }
}

/// A path below the directory, and never out of it.
fn inner_path(path: &Path) -> io::Result<PathBuf> {
    let mut inner = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => inner.push(name),
            Component::CurDir => {}
            _ => {
                let reason = format!("{} leads out of the data directory", path.display());
                return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
            }
        }
    }
    Ok(inner)
}

/// Puts all that was written on disk, in one call for the whole file system.
pub(super) async fn sync(directory: PathBuf) -> Result<(), EngineError> {
    let synced =
        tokio::task::spawn_blocking(move || -> io::Result<()> { Ok(rustix::fs::syncfs(fs::File::open(directory)?)?) });
    let synced = synced.await.unwrap_or_else(|error| Err(io::Error::other(error)));
    synced.map_err(|error| EngineError::transient_from("what was restored could not be put on disk", error))
}

/// What comes through the channel, as something that can be read.
struct Pieces {
    receiver: mpsc::Receiver<Bytes>,
    current: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.receiver.blocking_recv() {
                Some(piece) => self.current = piece,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;

    use bytes::Bytes;
    use futures::StreamExt;
    use mainstay_engine::EngineError;
    use mainstay_engine::recovery::Kept;
    use mainstay_engine::supervise::EngineUser;
    use tar::{Builder, EntryType, Header};

    use super::{inner_path, unpack};

    fn user() -> EngineUser {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        EngineUser { name: "ourselves".to_owned(), uid, gid }
    }

    fn kept(bytes: Vec<u8>) -> Kept {
        let pieces: Vec<Result<Bytes, EngineError>> =
            bytes.chunks(700).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        futures::stream::iter(pieces).boxed()
    }

    fn archive(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        for (name, kind, text) in entries {
            let mut header = Header::new_ustar();
            header.set_entry_type(*kind);
            header.set_size(text.len() as u64);
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            if *kind == EntryType::Symlink {
                header.set_link_name("/etc/passwd").unwrap();
            }
            header.set_cksum();
            builder.append(&header, Cursor::new(text)).unwrap();
        }
        builder.into_inner().unwrap()
    }

    #[tokio::test]
    async fn files_come_out_as_they_went_in() {
        let place = tempfile::tempdir().unwrap();
        let text = "x".repeat(5_000);
        let entries = [("base", EntryType::Directory, ""), ("base/1", EntryType::Regular, text.as_str())];
        let unpacked = unpack(kept(archive(&entries)), place.path().to_owned(), &user(), true).await;
        assert_eq!(unpacked.unwrap(), 1);
        assert_eq!(std::fs::read_to_string(place.path().join("base/1")).unwrap(), text);
        assert_eq!(std::fs::metadata(place.path().join("base/1")).unwrap().mode() & 0o777, 0o600);
    }

    #[tokio::test]
    async fn what_leads_elsewhere_or_is_broken_off_is_refused() {
        let outside = [
            archive(&[("../outside", EntryType::Regular, "x")]),
            archive(&[("/tmp/outside", EntryType::Regular, "x")]),
            archive(&[("link", EntryType::Symlink, "")]),
            archive(&[("twice", EntryType::Regular, "x"), ("twice", EntryType::Regular, "y")]),
            archive(&[("long", EntryType::Regular, &"x".repeat(5_000))])[..2_000].to_vec(),
            Vec::new(),
        ];
        for bytes in outside {
            let place = tempfile::tempdir().unwrap();
            assert!(unpack(kept(bytes), place.path().to_owned(), &user(), true).await.is_err());
            assert!(!place.path().parent().unwrap().join("outside").exists());
        }
        let broken = futures::stream::iter([Err(EngineError::transient("as it was"))]).boxed();
        let place = tempfile::tempdir().unwrap();
        let error = unpack(broken, place.path().to_owned(), &user(), true).await.unwrap_err();
        assert_eq!(error.to_string(), "as it was");
        assert!(inner_path(Path::new("./base/../1")).is_err());
        assert_eq!(inner_path(Path::new("./base/1")).unwrap(), Path::new("base/1"));
    }
}
