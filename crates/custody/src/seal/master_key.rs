//! The key file: a key that wraps the root key and is there at every start.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use zeroize::{Zeroize, Zeroizing};

use super::{Seal, SealFault, SealKind};
use crate::aead::{self, KEY_LENGTH, KeyBytes};

/// The key that wraps the root key: 32 bytes, held in memory only while it is needed.
///
/// Its file holds these bytes and nothing else, so that any tool can make one
/// (`(umask 077; head -c 32 /dev/urandom > FILE)`), and is readable by its owner alone.
pub struct MasterKey(KeyBytes);

/// Tells one master key from another without saying anything about either.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 8]);

/// Why a master key could not be had from its file.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    #[error(
        "the master key file {} does not exist; name the file that holds it, or for a new installation make one with \
         `(umask 077; head -c 32 /dev/urandom > {})`", .file.display(), .file.display()
    )]
    Missing { file: PathBuf },
    #[error("the master key file {} exists already and is not overwritten; use it, or name another", .file.display())]
    Exists { file: PathBuf },
    #[error(
        "the master key file {} can be read by others (mode {mode:04o}); take it back with `chmod 600 {}`, and where \
         others may have read it, give the store a new master key", .file.display(), .file.display()
    )]
    Exposed { file: PathBuf, mode: u32 },
    #[error("the master key file {} holds {found} instead of 32 bytes; restore it from its copy", .file.display())]
    Length { file: PathBuf, found: String },
    #[error("the master key file {} is not a regular file; name one", .file.display())]
    NotAFile { file: PathBuf },
    #[error("the master key file {} cannot be {verb}", .file.display())]
    Io {
        file: PathBuf,
        /// `read` or `written`.
        verb: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("the operating system gives no random bytes")]
    Random(#[source] getrandom::Error),
}

// === impl MasterKey ===

impl MasterKey {
    /// Reads the key from its file.
    pub fn read(file: &Path) -> Result<Self, MasterKeyError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => MasterKeyError::Missing { file: file.into() },
            _ => MasterKeyError::Io { file: file.into(), verb: "read", source },
        };
        // Looked at before it is opened as well: opening a pipe would wait for a writer.
        if !fs::metadata(file).map_err(failed)?.is_file() {
            return Err(MasterKeyError::NotAFile { file: file.into() });
        }
        let mut opened = File::open(file).map_err(failed)?;
        let metadata = opened.metadata().map_err(failed)?;
        let mode = metadata.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(MasterKeyError::Exposed { file: file.into(), mode });
        }
        if metadata.size() != KEY_LENGTH as u64 {
            return Err(MasterKeyError::Length { file: file.into(), found: metadata.size().to_string() });
        }
        let mut key = KeyBytes::default();
        opened.read_exact(key.as_mut()).map_err(failed)?;
        Ok(Self(key))
    }

    /// Draws a new key and writes it to a new file of mode 0600, which after a crash is there whole or not at all.
    pub fn create(file: &Path) -> Result<Self, MasterKeyError> {
        let key = aead::draw_key().map_err(MasterKeyError::Random)?;
        write_new(file, &key).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => MasterKeyError::Exists { file: file.into() },
            _ => MasterKeyError::Io { file: file.into(), verb: "written", source },
        })?;
        Ok(Self(key))
    }

    /// Reads the key from its file, which is made first where there is none. For development only: in production
    /// a missing key file is a mistake, and a new key would hide it.
    pub fn read_or_create(file: &Path) -> Result<Self, MasterKeyError> {
        match Self::read(file) {
            Err(MasterKeyError::Missing { .. }) => match Self::create(file) {
                // Another process was faster: its key is the one.
                Err(MasterKeyError::Exists { .. }) => Self::read(file),
                created => created,
            },
            read => read,
        }
    }

    /// A key that came from elsewhere than a file. Arrays leave copies on the stack where they are handed on; production has
    /// a file.
    pub fn from_bytes(mut bytes: [u8; KEY_LENGTH]) -> Self {
        let mut key = KeyBytes::default();
        key.as_mut().copy_from_slice(&bytes);
        bytes.zeroize();
        Self(key)
    }

    pub(super) fn from_key(key: KeyBytes) -> Self {
        Self(key)
    }

    /// What tells this key from another.
    pub fn fingerprint(&self) -> Fingerprint {
        let digest = blake3::derive_key("mainstay custody 2026-11-21 master key fingerprint", self.0.as_ref());
        let [a, b, c, d, e, f, g, h, ..] = digest;
        Fingerprint([a, b, c, d, e, f, g, h])
    }
}

#[async_trait::async_trait]
impl Seal for MasterKey {
    fn kind(&self) -> SealKind {
        SealKind::KeyFile
    }

    fn key_id(&self) -> String {
        self.fingerprint().to_text()
    }

    async fn wrap(&self, key: &[u8], context: &[u8]) -> Result<Vec<u8>, SealFault> {
        Ok(aead::seal_whole(&self.0, context, key)?)
    }

    async fn unwrap(&self, wrapped: &[u8], context: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, SealFault> {
        Ok(aead::open_whole(&self.0, context, wrapped))
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({})", self.fingerprint())
    }
}

/// Writes beside the file and then links it to its name: a link, unlike a rename, refuses a name that is taken.
fn write_new(file: &Path, key: &KeyBytes) -> io::Result<()> {
    let mut beside = file.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = PathBuf::from(beside);
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside).and_then(|mut opened| {
        opened.write_all(key.as_ref())?;
        opened.sync_all()?;
        fs::hard_link(&beside, file)
    });
    let removed = fs::remove_file(&beside);
    written.and(removed)?;
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

// === impl Fingerprint ===

impl Fingerprint {
    fn to_text(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.to_text())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}
