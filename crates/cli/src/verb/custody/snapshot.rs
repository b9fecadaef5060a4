use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Args;

use super::progress::Progress;
use crate::failure::Failure;
use crate::output;
use crate::session::Session;

/// What is held of a snapshot at a time.
const PART: usize = 64 << 10;

#[derive(Args)]
pub struct Snapshot {
    /// Where to write it; - is standard output
    #[arg(value_name = "FILE|-")]
    file: PathBuf,
}

impl Snapshot {
    pub(crate) fn run(self, session: &Session) -> Result<(), Failure> {
        let path = "/custody/snapshot";
        if self.file == Path::new("-") {
            if io::stdout().is_terminal() {
                return Err(Failure::usage(
                    "a snapshot is nothing to look at: name a file, or lead the output into one",
                ));
            }
            let mut out = io::stdout().lock();
            receive(&mut session.client.download(path)?, &mut out, Failure::Output)?;
            return out.flush().map_err(Failure::Output);
        }
        // Asked for before anything is written: what is refused leaves no file.
        let place = Place::new(&self.file)?;
        let mut body = session.client.download(path)?;
        let bytes = place.fill(|file, failed| receive(&mut body, file, failed))?;
        output::message(&format!(
            "{bytes} bytes are in {}. It opens with the seal of this moment.",
            self.file.display()
        ));
        Ok(())
    }
}

/// A name that a file gets once it is whole.
struct Place {
    file: PathBuf,
    beside: PathBuf,
    folder: PathBuf,
}

impl Place {
    fn new(file: &Path) -> Result<Self, Failure> {
        let is_something_else = fs::metadata(file).is_ok_and(|found| !found.is_file());
        let name = file.file_name().filter(|_| !is_something_else);
        let name = name.ok_or_else(|| Failure::usage(format!("{} is no file; name one", file.display())))?;
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let beside = folder.join(format!(".{}.{}", name.display(), std::process::id()));
        Ok(Self { file: file.to_owned(), beside, folder: folder.to_owned() })
    }

    /// Writes it beside its name and renames it when it is whole and on the disk. Where that fails nothing is left of it,
    /// and what had the name before is as it was.
    fn fill(
        &self,
        write: impl FnOnce(&mut File, &dyn Fn(io::Error) -> Failure) -> Result<u64, Failure>,
    ) -> Result<u64, Failure> {
        let failed = |error| Failure::local(format!("{} cannot be written", self.file.display()), error);
        let mut opened =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.beside).map_err(failed)?;
        let written = write(&mut opened, &failed).and_then(|bytes| {
            opened.sync_all().and_then(|()| fs::rename(&self.beside, &self.file)).map_err(failed)?;
            Ok(bytes)
        });
        match written {
            Ok(bytes) => File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(failed).map(|()| bytes),
            Err(failure) => {
                // What comes first is what has to be said.
                let _ = fs::remove_file(&self.beside);
                Err(failure)
            }
        }
    }
}

/// Copies what arrives, part by part, and says how much it was.
fn receive(from: &mut impl Read, to: &mut impl Write, failed: impl Fn(io::Error) -> Failure) -> Result<u64, Failure> {
    let progress = Progress::new("received", None);
    let (mut part, mut bytes) = (vec![0; PART], 0);
    loop {
        let read = from.read(&mut part).map_err(|error| {
            Failure::local("the snapshot was broken off, and is not kept; the layer's log says why", error)
        })?;
        if read == 0 {
            return Ok(bytes);
        }
        to.write_all(&part[..read]).map_err(&failed)?;
        bytes += read as u64;
        progress.show(bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{self, Read};
    use std::os::unix::fs::PermissionsExt;

    use super::{Place, receive};

    /// Gives something, and then breaks off.
    struct BrokenOff(bool);

    impl Read for BrokenOff {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            if std::mem::replace(&mut self.0, true) { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(into.len()) }
        }
    }

    #[test]
    fn a_snapshot_is_whole_or_leaves_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("custody.snapshot");
        fs::write(&file, "the last one").unwrap();
        let place = Place::new(&file).unwrap();
        let failure = place.fill(|to, failed| receive(&mut BrokenOff(false), to, failed)).unwrap_err();
        assert!(failure.chain().starts_with("the snapshot was broken off"), "{}", failure.chain());
        assert_eq!(fs::read_to_string(&file).unwrap(), "the last one");

        let bytes = place.fill(|to, failed| receive(&mut io::repeat(7).take(200_000), to, failed)).unwrap();
        let metadata = fs::metadata(&file).unwrap();
        assert_eq!((bytes, metadata.len(), metadata.permissions().mode() & 0o777), (200_000, 200_000, 0o600));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn what_is_no_file_is_not_replaced() {
        for path in ["/dev/null", "/", ".."] {
            assert!(Place::new(path.as_ref()).is_err(), "{path}");
        }
    }
}
