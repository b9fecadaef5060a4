//! Credentials as files: `DIR/NAME/<key>`, after the Service Binding specification for Kubernetes.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use secrecy::{ExposeSecret, SecretString};

/// Writes the files of one binding and returns their directory.
///
/// They appear all at once: a consumer that looks meanwhile sees the old files or the new ones, never some of both.
pub(crate) fn write<'a>(
    root: &Path,
    name: &str,
    keys: impl Iterator<Item = (&'a str, &'a SecretString)>,
) -> io::Result<PathBuf> {
    DirBuilder::new().recursive(true).mode(0o700).create(root)?;
    let directory = root.join(name);
    let exists = fs::symlink_metadata(&directory).is_ok();
    if exists && !is_binding(&directory) {
        let reason = format!("{} exists and is no binding of Mainstay; name another directory", directory.display());
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, reason));
    }
    // A name that no binding can have, so that whoever lists the root passes it over.
    let beside = root.join(format!(".{name}.{}", std::process::id()));
    let placed = fill(&beside, keys).and_then(|()| place(&beside, &directory, exists));
    if placed.is_err() {
        remove(&beside)?;
    }
    placed.map(|()| directory)
}

/// Removes the directory of a binding. That there is none is no error.
pub(crate) fn remove(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn fill<'a>(directory: &Path, keys: impl Iterator<Item = (&'a str, &'a SecretString)>) -> io::Result<()> {
    remove(directory)?;
    DirBuilder::new().mode(0o700).create(directory)?;
    for (key, value) in keys {
        if !is_key(key) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{key:?} cannot be the name of a file")));
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(directory.join(key))?;
        file.write_all(value.expose_secret().as_bytes())?;
        file.sync_all()?;
    }
    File::open(directory)?.sync_all()
}

fn place(beside: &Path, directory: &Path, exists: bool) -> io::Result<()> {
    if !exists {
        return Ok(renameat_with(CWD, beside, CWD, directory, RenameFlags::NOREPLACE)?);
    }
    match renameat_with(CWD, beside, CWD, directory, RenameFlags::EXCHANGE) {
        Ok(()) => remove(beside),
        // Network file systems know no exchange; there the directory is away for a moment.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            remove(directory)?;
            fs::rename(beside, directory)
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether a directory is one that [`write`] has written, so that it may be replaced and removed.
fn is_binding(directory: &Path) -> bool {
    let real = fs::symlink_metadata(directory).is_ok_and(|metadata| metadata.is_dir());
    real && fs::read_to_string(directory.join("provider")).is_ok_and(|provider| provider == "mainstay")
}

fn is_key(key: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=253).contains(&key.len()) && !key.starts_with('.') && key.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use secrecy::SecretString;

    use super::write;

    fn write_keys(root: &Path, keys: &[(&str, &str)]) -> std::io::Result<std::path::PathBuf> {
        let keys: Vec<(&str, SecretString)> =
            keys.iter().map(|&(key, value)| (key, SecretString::from(value))).collect();
        write(root, "shop", keys.iter().map(|(key, value)| (*key, value)))
    }

    #[test]
    fn files_are_for_their_owner_alone_and_replaced_as_one() {
        let root = tempfile::tempdir().unwrap();
        let out = root.path().join("new/bindings");
        let directory = write_keys(&out, &[("type", "postgresql"), ("provider", "mainstay"), ("old", "x")]).unwrap();
        assert_eq!(directory, out.join("shop"));
        assert_eq!(fs::read_to_string(directory.join("type")).unwrap(), "postgresql");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&out), mode(&directory), mode(&directory.join("type"))), (0o700, 0o700, 0o600));

        write_keys(&out, &[("type", "redis"), ("provider", "mainstay")]).unwrap();
        assert_eq!(fs::read_to_string(directory.join("type")).unwrap(), "redis");
        assert!(!directory.join("old").exists());
        assert_eq!(fs::read_dir(&out).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn what_mainstay_did_not_write_is_left_alone() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("shop")).unwrap();
        fs::write(root.path().join("shop/precious"), "x").unwrap();
        let error = write_keys(root.path(), &[("type", "redis")]).unwrap_err();
        assert!(error.to_string().contains("is no binding of Mainstay"), "{error}");
        assert!(root.path().join("shop/precious").exists());
    }

    #[test]
    fn a_key_cannot_leave_its_directory() {
        let root = tempfile::tempdir().unwrap();
        for key in ["../x", "/x", "..", "", "a/b", ".hidden", "a\0"] {
            assert!(write_keys(root.path(), &[(key, "x")]).is_err(), "{key:?}");
        }
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }
}
