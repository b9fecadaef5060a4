//! The key file: opening custody with it, and putting a new key in its place.
//!
//! A new key lies beside the file before the store is sealed with it, and takes the file's name afterwards. So at every
//! moment one of the two files holds the key that the store is sealed with, and which of them it is the store itself says.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use mainstay_custody::{Custody, KeyringError, MasterKey, MasterKeyError, OpenError, UnsealError};
use mainstay_secrets::KeyFile;
use mainstay_secrets_engine::Fault;
use mainstay_storage::Location;
use tokio::sync::Mutex;

/// The key file of a layer that runs.
pub(super) struct LayerKeyFile {
    files: Files,
    custody: Custody,
    /// One rotation at a time.
    turn: Mutex<()>,
}

/// Why custody does not open with its key file, or the file has not got a new key.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    #[error("the master key cannot be used")]
    MasterKey(#[source] MasterKeyError),
    #[error("the secret store cannot be used")]
    Open(#[source] OpenError),
    #[error("the secret store does not say which master key it is sealed with")]
    Unknown(#[source] UnsealError),
    #[error(
        "neither {} nor {} holds the key that the secrets are sealed with; put it back from its copy before the layer stops",
        .0.current.display(), .0.fresh.display()
    )]
    Lost(Files),
    #[error("the secret store was not sealed with the new master key")]
    Rewrap(#[source] KeyringError),
    #[error("the new master key {} cannot take the place of {}; the next start tries again", .files.fresh.display(), .files.current.display())]
    Replace {
        files: Files,
        #[source]
        source: io::Error,
    },
}

/// The key file, and the one that its next key lies in until it takes its place.
#[derive(Debug, Clone)]
pub struct Files {
    current: PathBuf,
    fresh: PathBuf,
}

/// What the key in a file is to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fit {
    Opens,
    Other,
    Missing,
}

/// What is to be done with the two files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Nothing,
    /// The fresh key was drawn and never used.
    RemoveFresh,
    /// The store is sealed with the fresh key, which has not taken its place yet.
    TakeFresh,
    /// The store's key is in neither.
    Refuse,
}

/// Opens custody with its key file, and ends what a crash has left of a rotation.
pub(super) async fn open(location: &Location, file: &Path, may_create: bool) -> Result<Custody, KeyFileError> {
    let files = Files::of(file);
    let with_current = match files.read_current(may_create) {
        Ok(key) => Custody::open(location, key).await.map_err(KeyFileError::Open),
        Err(error) => Err(KeyFileError::MasterKey(error)),
    };
    let custody = match with_current {
        Ok(custody) => custody,
        Err(error) if error.may_be_half_rotated() => match files.open_with_fresh(location).await {
            Some(custody) => custody,
            None => return Err(error),
        },
        Err(error) => return Err(error),
    };
    // The store is open whichever file it was. What cannot be tidied up now is tidied up at the next start.
    if let Err(error) = files.settle(&custody).await {
        tracing::error!(error = &error as &dyn std::error::Error, "the master key's files are not in order");
    }
    Ok(custody)
}

/// Which of the two files goes on.
fn decide(current: Fit, fresh: Fit) -> Step {
    match (current, fresh) {
        (Fit::Opens, Fit::Missing) => Step::Nothing,
        (Fit::Opens, Fit::Other | Fit::Opens) => Step::RemoveFresh,
        (Fit::Other | Fit::Missing, Fit::Opens) => Step::TakeFresh,
        (Fit::Other | Fit::Missing, Fit::Other | Fit::Missing) => Step::Refuse,
    }
}

// === impl LayerKeyFile ===

impl LayerKeyFile {
    pub(super) fn new(file: &Path, custody: Custody) -> Self {
        Self { files: Files::of(file), custody, turn: Mutex::default() }
    }

    async fn rotate(&self) -> Result<(), KeyFileError> {
        let _turn = self.turn.lock().await;
        self.files.settle(&self.custody).await?;
        let key = MasterKey::create(&self.files.fresh).map_err(KeyFileError::MasterKey)?;
        let rewrapped = self.custody.rewrap(key).await.map_err(KeyFileError::Rewrap);
        // The store is asked which key counts, also where it was not heard to say that the new one does.
        let settled = self.files.settle(&self.custody).await;
        rewrapped.and(settled)
    }
}

#[async_trait]
impl KeyFile for LayerKeyFile {
    async fn rotate(&self) -> Result<(), Fault> {
        Ok(Self::rotate(self).await?)
    }
}

// === impl KeyFileError ===

impl KeyFileError {
    /// Whether the key file holds no key of the store's, as where a rotation was cut off before its last step.
    fn may_be_half_rotated(&self) -> bool {
        matches!(
            self,
            Self::MasterKey(MasterKeyError::Missing { .. })
                | Self::Open(OpenError::Unseal(UnsealError::WrongKey { .. }))
        )
    }
}

// === impl Files ===

impl Files {
    fn of(file: &Path) -> Self {
        // Where the name is a link, what it leads to is replaced and not the link.
        let current = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
        let mut fresh = current.clone().into_os_string();
        fresh.push(".new");
        Self { current, fresh: fresh.into() }
    }

    fn read_current(&self, may_create: bool) -> Result<MasterKey, MasterKeyError> {
        // A key that is made for a store that has one would only be in the way.
        if may_create && !self.fresh.exists() {
            MasterKey::read_or_create(&self.current)
        } else {
            MasterKey::read(&self.current)
        }
    }

    async fn open_with_fresh(&self, location: &Location) -> Option<Custody> {
        let key = MasterKey::read(&self.fresh).ok()?;
        Custody::open(location, key).await.ok()
    }

    /// Leaves the key that the store is sealed with in the key file, and no other beside it.
    async fn settle(&self, custody: &Custody) -> Result<(), KeyFileError> {
        let (current, fresh) = (fit(custody, &self.current).await?, fit(custody, &self.fresh).await?);
        match decide(current, fresh) {
            Step::Nothing => Ok(()),
            Step::RemoveFresh => {
                tracing::info!(file = %self.fresh.display(), "a master key that was never used is removed");
                self.changed(fs::remove_file(&self.fresh))
            }
            Step::TakeFresh => {
                let changed = self.changed(fs::rename(&self.fresh, &self.current));
                tracing::info!(file = %self.current.display(), "the key file holds a new master key");
                changed
            }
            Step::Refuse => Err(KeyFileError::Lost(self.clone())),
        }
    }

    /// Sees that a change of the names is on the disk.
    fn changed(&self, change: io::Result<()>) -> Result<(), KeyFileError> {
        let folder = self.current.parent().unwrap_or(Path::new("/"));
        let lasting = change.and_then(|()| File::open(folder)?.sync_all());
        lasting.map_err(|source| KeyFileError::Replace { files: self.clone(), source })
    }
}

/// What the key in a file is to a store. A file that holds no key is another's.
async fn fit(custody: &Custody, file: &Path) -> Result<Fit, KeyFileError> {
    match MasterKey::read(file) {
        Ok(key) if custody.opens_with(&key).await.map_err(KeyFileError::Unknown)? => Ok(Fit::Opens),
        Ok(_) => Ok(Fit::Other),
        Err(MasterKeyError::Missing { .. }) => Ok(Fit::Missing),
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "a master key is not read");
            Ok(Fit::Other)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use mainstay_custody::{Custody, MasterKey};
    use mainstay_storage::Location;

    use super::{Files, Fit, LayerKeyFile, Step, decide, open};

    #[test]
    fn the_store_says_which_file_goes_on() {
        for (current, fresh, step) in [
            (Fit::Opens, Fit::Missing, Step::Nothing),
            (Fit::Opens, Fit::Other, Step::RemoveFresh),
            (Fit::Opens, Fit::Opens, Step::RemoveFresh),
            (Fit::Other, Fit::Opens, Step::TakeFresh),
            (Fit::Missing, Fit::Opens, Step::TakeFresh),
            (Fit::Other, Fit::Other, Step::Refuse),
            (Fit::Other, Fit::Missing, Step::Refuse),
            (Fit::Missing, Fit::Other, Step::Refuse),
            (Fit::Missing, Fit::Missing, Step::Refuse),
        ] {
            assert_eq!(decide(current, fresh), step, "{current:?} {fresh:?}");
        }
    }

    /// A store on a disk, and its key file.
    struct Place {
        folder: tempfile::TempDir,
        files: Files,
    }

    impl Place {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let files = Files::of(&folder.path().join("master.key"));
            Self { folder, files }
        }

        /// Starts as a process does, and ends again; says whether it came to serve.
        async fn starts(&self) -> bool {
            let opened = open(&self.location(), &self.files.current, false).await;
            let starts = opened.is_ok();
            if let Ok(custody) = opened {
                assert!(custody.opens_with(&MasterKey::read(&self.files.current).unwrap()).await.unwrap());
                assert!(!self.files.fresh.exists());
                custody.close().await;
            }
            starts
        }

        fn location(&self) -> Location {
            Location::Directory(self.folder.path().to_owned())
        }
    }

    fn key(file: &Path) -> Vec<u8> {
        fs::read(file).unwrap()
    }

    #[tokio::test]
    async fn it_starts_wherever_a_rotation_was_cut_off() {
        let place = Place::new();
        let Files { current, fresh } = &place.files;
        let custody = open(&place.location(), current, true).await.unwrap();
        let old = key(current);

        // Before the store was sealed with it.
        MasterKey::create(fresh).unwrap();
        custody.close().await;
        assert!(place.starts().await);
        assert_eq!(key(current), old);

        // After, and before it took its place.
        let custody = open(&place.location(), current, false).await.unwrap();
        custody.rewrap(MasterKey::create(fresh).unwrap()).await.unwrap();
        let new = key(fresh);
        custody.close().await;
        assert!(place.starts().await);
        assert_eq!(key(current), new);

        // The same where somebody has removed the old key meanwhile.
        fs::rename(current, fresh).unwrap();
        assert!(place.starts().await);
        assert_eq!(key(current), new);

        // A key that is neither is no way in, and nothing is removed.
        fs::rename(current, place.folder.path().join("kept")).unwrap();
        MasterKey::create(current).unwrap();
        MasterKey::create(fresh).unwrap();
        let before = (key(current), key(fresh));
        assert!(!place.starts().await);
        assert_eq!((key(current), key(fresh)), before);
    }

    #[tokio::test]
    async fn a_rotation_ends_what_another_has_left() {
        let place = Place::new();
        let Files { current, fresh } = &place.files;
        let custody: Custody = open(&place.location(), current, true).await.unwrap();
        let first = key(current);
        custody.rewrap(MasterKey::create(fresh).unwrap()).await.unwrap();
        let second = key(fresh);
        LayerKeyFile::new(current, custody.clone()).rotate().await.unwrap();
        let third = key(current);
        assert!(third != first && third != second && !fresh.exists());
        custody.close().await;
        assert!(place.starts().await);
    }
}
