//! Files that we write for an engine, and a secret of ours beside them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, fchown};
use std::path::Path;

use rustix::fs::OFlags;
use secrecy::{ExposeSecret, SecretString};

use super::directory::ClusterDirectory;
use super::user::EngineUser;
use crate::EngineError;

/// The longest file of an engine's that we read: ten thousand users have one of some megabytes.
const LONGEST_FILE: u64 = 64 << 20;
/// How many random bytes a secret has: 256 bits, which nobody guesses.
const SECRET_BYTES: usize = 32;

/// Writes a file that the engine alone reads, whole or not at all, where its text is another.
pub fn write_file(directory: &Path, name: &str, text: &str, user: &EngineUser) -> Result<(), EngineError> {
    replace(directory, name, text, Some(user), Durability::OnDisk).map_err(|error| {
        EngineError::transient_from(format!("{} could not be written", directory.join(name).display()), error)
    })
}

/// The same without waiting for the disk: for a file that is written anew before whoever reads it starts again, so that it
/// does not matter what of it a machine finds that lost its power.
pub fn write_derived_file(directory: &Path, name: &str, text: &str, user: &EngineUser) -> Result<(), EngineError> {
    replace(directory, name, text, Some(user), Durability::WhileTheMachineRuns).map_err(|error| {
        EngineError::transient_from(format!("{} could not be written", directory.join(name).display()), error)
    })
}

/// Writes a file that we alone read, whole or not at all, where its text is another.
pub fn write_own_file(directory: &Path, name: &str, text: &str) -> Result<(), EngineError> {
    replace(directory, name, text, None, Durability::OnDisk).map_err(|error| {
        EngineError::transient_from(format!("{} could not be written", directory.join(name).display()), error)
    })
}

/// Puts a file on disk that an engine has written anew under its name, and that it may not have put there itself.
pub fn sync_file(directory: &Path, name: &str) -> io::Result<()> {
    open(&directory.join(name))?.sync_all()?;
    File::open(directory)?.sync_all()
}

/// Reads a file that lies where an engine can write. Whoever has taken the engine over may have put something else there:
/// what is no file, leads elsewhere, or has no end is an error, and nothing that anybody waits for.
pub fn read_file(path: impl AsRef<Path>) -> io::Result<String> {
    let mut text = String::new();
    open(path.as_ref())?.take(LONGEST_FILE + 1).read_to_string(&mut text)?;
    match text.len() as u64 {
        len if len > LONGEST_FILE => Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is longer than any of ours")),
        _ => Ok(text),
    }
}

fn open(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")),
    }
}

/// Why a file is not as [`write_file`] would leave it; none where it is.
pub fn changed_file(directory: &Path, name: &str, text: &str) -> Option<String> {
    match read_file(directory.join(name)) {
        Ok(found) if found == text => None,
        Ok(_) => Some(format!("{name} is not as it was written")),
        Err(error) => Some(format!("{name} can not be read: {error}")),
    }
}

/// What we prove to the cluster's engine who we are with, drawn when it is first asked for. Letters and digits.
///
/// It lies where the engine's user cannot read it, beside data that it opens no better than whoever can read it does.
/// The cluster has to be locked.
pub fn admin_secret(directory: &ClusterDirectory) -> Result<SecretString, EngineError> {
    const NAME: &str = "admin.secret";
    let path = directory.root().join(NAME);
    match fs::read_to_string(&path) {
        Ok(text) if text.len() == 2 * SECRET_BYTES => return Ok(text.into()),
        Ok(_) => {
            return Err(EngineError::permanent(
                format!("{} is not the secret that was written there", path.display()),
                "put the file back, or delete the cluster's instances and create them anew",
            ));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            return Err(EngineError::transient_from(format!("{} could not be read", path.display()), error));
        }
    }
    let mut bytes = [0; SECRET_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| EngineError::transient(format!("no random bytes: {error}")))?;
    let secret = SecretString::from(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    write_own_file(directory.root(), NAME, secret.expose_secret())?;
    Ok(secret)
}

/// What a file that was written survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Durability {
    OnDisk,
    WhileTheMachineRuns,
}

fn replace(
    directory: &Path,
    name: &str,
    text: &str,
    user: Option<&EngineUser>,
    durability: Durability,
) -> io::Result<()> {
    let path = directory.join(name);
    if read_file(&path).is_ok_and(|found| found == text) {
        return Ok(());
    }
    let temporary = directory.join(format!("{name}.new"));
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // A new file, never one that is there: the directory is the engine's, and a link in it could lead elsewhere.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    if let Some(user) = user {
        fchown(&file, Some(user.uid), Some(user.gid))?;
    }
    file.write_all(text.as_bytes())?;
    if durability == Durability::WhileTheMachineRuns {
        return fs::rename(&temporary, &path);
    }
    file.sync_all()?;
    fs::rename(&temporary, &path)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use secrecy::ExposeSecret;

    use super::super::directory::ClusterDirectory;
    use super::{admin_secret, changed_file, read_file, sync_file, write_derived_file, write_file};
    use crate::supervise::EngineUser;

    #[test]
    fn a_file_is_written_where_its_text_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let user = EngineUser::ourselves().unwrap();
        assert!(changed_file(folder.path(), "a.conf", "1").unwrap().starts_with("a.conf can not be read"));
        for text in ["1", "2", "2"] {
            write_file(folder.path(), "a.conf", text, &user).unwrap();
            assert_eq!(changed_file(folder.path(), "a.conf", text), None);
        }
        assert_eq!(changed_file(folder.path(), "a.conf", "1").unwrap(), "a.conf is not as it was written");
        write_derived_file(folder.path(), "a.conf", "3", &user).unwrap();
        assert_eq!(changed_file(folder.path(), "a.conf", "3"), None);
        let mode = std::fs::metadata(folder.path().join("a.conf")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn what_is_no_file_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        std::os::unix::fs::symlink("/dev/zero", at("endless")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", at("elsewhere")).unwrap();
        for name in ["pipe", "endless", "elsewhere", ".", "absent"] {
            assert!(read_file(at(name)).is_err(), "{name}");
            assert!(sync_file(folder.path(), name).is_err(), "{name}");
            assert!(changed_file(folder.path(), name, "text").is_some());
        }
    }

    #[test]
    fn a_secret_is_drawn_once_and_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let directory = ClusterDirectory::new(folder.path(), &"redis-1".parse().unwrap());
        std::fs::create_dir(directory.root()).unwrap();
        let secret = admin_secret(&directory).unwrap();
        assert_eq!(secret.expose_secret(), admin_secret(&directory).unwrap().expose_secret());
        let path: &Path = &directory.root().join("admin.secret");
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(path, "short").unwrap();
        assert!(admin_secret(&directory).unwrap_err().to_string().contains("is not the secret"));
    }
}
