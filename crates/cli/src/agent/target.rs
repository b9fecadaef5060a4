//! The file that a template is rendered into.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustix::fs::OFlags;

use crate::client::random_word;
use crate::delivery::warn_of_disk;
use crate::failure::Failure;

/// Permission bits as `chmod` takes them: `0600`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mode(u32);

/// A destination that is written as a whole or not at all.
pub(crate) struct Target {
    destination: PathBuf,
    mode: Mode,
}

// === impl Mode ===

impl FromStr for Mode {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rule = "write it in octal, for example 0600 or 0640; others must not write";
        let mode = u32::from_str_radix(text, 8).map_err(|_| rule)?;
        if mode <= 0o777 && mode & 0o002 == 0 { Ok(Self(mode)) } else { Err(rule) }
    }
}

// === impl Target ===

impl Target {
    pub fn new(destination: PathBuf, mode: Mode) -> Self {
        Self { destination, mode }
    }

    pub fn destination(&self) -> &Path {
        &self.destination
    }

    fn folder(&self) -> &Path {
        let parent = self.destination.parent().filter(|parent| !parent.as_os_str().is_empty());
        parent.unwrap_or(Path::new("."))
    }

    /// Refuses a place where others could put their own file instead, and warns of one that is on a disk.
    pub fn check(&self) -> Result<(), Failure> {
        let name = self.destination.display();
        let folder = fs::canonicalize(self.folder()).map_err(|source| {
            Failure::local(format!("{name} cannot be written: its folder cannot be reached"), source)
        })?;
        if self.destination.file_name().is_none() || self.destination.is_dir() {
            return Err(Failure::usage(format!("{name} is no name of a file")));
        }
        for ancestor in folder.ancestors() {
            let mode = fs::metadata(ancestor)
                .map_err(|source| Failure::local(format!("{} cannot be looked at", ancestor.display()), source))?
                .permissions()
                .mode();
            if is_open_to_all(mode) {
                return Err(Failure::Usage {
                    sentence: format!("{name} is not written: everybody may replace files in {}", ancestor.display()),
                    remedy: Some(format!("name another place, or take that away: chmod o-w {}", ancestor.display())),
                });
            }
        }
        warn_of_disk(&folder);
        Ok(())
    }

    /// Writes a text where the file has another. Whether it did is returned.
    pub fn write(&self, text: &str) -> Result<bool, Failure> {
        let failed = |source| Failure::local(format!("{} cannot be written", self.destination.display()), source);
        if self.is(text).unwrap_or(false) {
            return Ok(false);
        }
        let name = self.destination.file_name().unwrap_or_default().to_string_lossy();
        let beside = self.folder().join(format!(".{name}.{}", random_word()?));
        let written = self.replace(&beside, text);
        if written.is_err() {
            let _ = fs::remove_file(&beside);
        }
        written.map_err(failed)?;
        Ok(true)
    }

    /// Whether the file has this text and these permissions already, as after a restart of the agent.
    fn is(&self, text: &str) -> io::Result<bool> {
        let mut file =
            OpenOptions::new().read(true).custom_flags(OFlags::NOFOLLOW.bits() as i32).open(&self.destination)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() || metadata.size() != text.len() as u64 || metadata.mode() & 0o777 != self.mode.0 {
            return Ok(false);
        }
        let mut present = zeroize::Zeroizing::new(Vec::with_capacity(text.len()));
        Read::take(&mut file, text.len() as u64 + 1).read_to_end(&mut present)?;
        Ok(present.as_slice() == text.as_bytes())
    }

    fn replace(&self, beside: &Path, text: &str) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(beside)?;
        file.write_all(text.as_bytes())?;
        // The umask has no say in it.
        file.set_permissions(fs::Permissions::from_mode(self.mode.0))?;
        file.sync_all()?;
        fs::rename(beside, &self.destination)?;
        File::open(self.folder())?.sync_all()
    }
}

/// Whether everybody may replace what is in a folder: a sticky one, as /tmp, keeps each file to its owner.
fn is_open_to_all(mode: u32) -> bool {
    mode & 0o002 != 0 && mode & 0o1000 == 0
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::{Mode, Target};

    #[test]
    fn a_file_is_replaced_as_one_and_left_alone_where_nothing_changed() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("app.env");
        let target = Target::new(file.clone(), "0640".parse().unwrap());
        target.check().unwrap();
        assert!(target.write("A=1\n").unwrap());
        let first = fs::metadata(&file).unwrap();
        assert_eq!((fs::read_to_string(&file).unwrap().as_str(), first.mode() & 0o777), ("A=1\n", 0o640));
        assert!(!target.write("A=1\n").unwrap());
        assert_eq!(fs::metadata(&file).unwrap().ino(), first.ino());
        assert!(target.write("A=2\n").unwrap());
        assert_ne!(fs::metadata(&file).unwrap().ino(), first.ino(), "whoever has it open reads the old one to its end");
        fs::set_permissions(&file, Permissions::from_mode(0o666)).unwrap();
        assert!(target.write("A=2\n").unwrap(), "permissions count as well");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_link_is_replaced_and_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("precious"), directory.path().join("link"));
        fs::write(&file, "x").unwrap();
        symlink(&file, &link).unwrap();
        assert!(Target::new(link.clone(), Mode(0o600)).write("x").unwrap());
        assert_eq!(fs::read_to_string(&file).unwrap(), "x");
        assert!(!link.is_symlink());
    }

    #[test]
    fn a_folder_that_is_open_to_all_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let target = Target::new(directory.path().join("below/app.env"), Mode(0o600));
        assert!(target.check().unwrap_err().to_string().contains("its folder cannot be reached"));
        fs::create_dir(directory.path().join("below")).unwrap();
        for (mode, allowed) in [(0o777, false), (0o1777, true), (0o755, true), (0o702, false)] {
            fs::set_permissions(directory.path(), Permissions::from_mode(mode)).unwrap();
            assert_eq!(target.check().is_ok(), allowed, "{mode:o}");
        }
    }

    #[test]
    fn modes() {
        assert_eq!("0600".parse(), Ok(Mode(0o600)));
        for bad in ["", "rw", "0602", "4755", "9"] {
            assert!(bad.parse::<Mode>().is_err(), "{bad}");
        }
    }
}
