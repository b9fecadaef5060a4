//! What a data directory remembers of its repository: which one that is, and as whom it keeps it.
//!
//! Without it an empty directory, in which a disk should be mounted, would become a repository that knows nothing of the past.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use mainstay_repository::{Contender, Location, Repository};
use mainstay_types::chain;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The file, in the data directory. It is in no backup: who is recovered from one is another keeper.
const FILE: &str = "repository.json";
const VERSION: u32 = 1;

/// Where it is remembered.
#[derive(Debug, Clone)]
pub(crate) struct TenureFile(PathBuf);

/// What is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tenure {
    version: u32,
    /// Drawn once, whatever becomes of the repository.
    pub layer: Uuid,
    /// The repository that was last used, and where it lay.
    pub repository: Option<Uuid>,
    pub location: Option<String>,
}

/// Why it is not known which repository that is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TenureError {
    #[error("{} cannot be used, which says which repository this layer has; see its owner and mode, and that there is room", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "{} is damaged, which says which repository this layer has; see that the configuration names the right one, and write the file anew \
         with: mainstay repository take-over", path.display()
    )]
    Damaged {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error(
        "{} is of version {found}, and this version of Mainstay reads version {VERSION}; start the newer version that wrote it", path.display()
    )]
    Version { path: PathBuf, found: u32 },
}

/// Makes a repository that of the layer in a data directory, whoever kept it until now. One that can only be read is recovered from all
/// the same.
pub(crate) async fn take_over(repository: &Repository, data_dir: &Path) -> Result<(), TenureError> {
    let file = TenureFile::of(data_dir);
    let tenure = file.read_or_forget()?.with(repository.location(), repository.id());
    file.write(&tenure)?;
    if let Err(error) = repository.take_over_for(tenure.layer, &mut Contender::new()).await {
        let error = chain(&error);
        tracing::warn!(error, "the repository is not taken over: if the layer that wrote it runs still, end that one");
    }
    Ok(())
}

/// What every version of the file has.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

// === impl TenureFile ===

impl TenureFile {
    pub fn of(data_dir: &Path) -> Self {
        Self(data_dir.join(FILE))
    }

    pub fn read(&self) -> Result<Tenure, TenureError> {
        let text = match fs::read(&self.0) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Tenure::new()),
            text => text.map_err(|source| self.failed(source))?,
        };
        let path = || self.0.clone();
        let damaged = |source| TenureError::Damaged { path: path(), source };
        let Version { version: found } = serde_json::from_slice(&text).map_err(damaged)?;
        match found {
            VERSION => serde_json::from_slice(&text).map_err(damaged),
            _ => Err(TenureError::Version { path: path(), found }),
        }
    }

    /// The same for whoever takes a repository over, whichever this layer had: what is damaged is forgotten, and the layer another one.
    pub fn read_or_forget(&self) -> Result<Tenure, TenureError> {
        match self.read() {
            Err(error @ TenureError::Damaged { .. }) => {
                tracing::warn!(error = chain(&error), "it is written anew");
                Ok(Tenure::new())
            }
            read => read,
        }
    }

    /// Writes it, durably, where it is not written yet.
    pub fn write(&self, tenure: &Tenure) -> Result<(), TenureError> {
        if self.0.exists() && self.read().is_ok_and(|written| written == *tenure) {
            return Ok(());
        }
        self.replace(tenure).map_err(|source| self.failed(source))
    }

    fn replace(&self, tenure: &Tenure) -> io::Result<()> {
        let unfinished = self.0.with_extension("new");
        fs::write(&unfinished, serde_json::to_vec_pretty(tenure)?)?;
        File::open(&unfinished)?.sync_all()?;
        fs::rename(&unfinished, &self.0)?;
        File::open(self.0.parent().unwrap_or(Path::new("/")))?.sync_all()
    }

    fn failed(&self, source: io::Error) -> TenureError {
        TenureError::File { path: self.0.clone(), source }
    }
}

// === impl Tenure ===

impl Tenure {
    fn new() -> Self {
        Self { version: VERSION, layer: Uuid::new_v4(), repository: None, location: None }
    }

    /// The repository that should be at a place.
    pub fn repository_at(&self, location: &Location) -> Option<Uuid> {
        self.repository.filter(|_| self.location.as_deref() == Some(&location.to_string()))
    }

    pub fn with(self, location: &Location, repository: Uuid) -> Self {
        Self { repository: Some(repository), location: Some(location.to_string()), ..self }
    }
}

#[cfg(test)]
mod tests {
    use mainstay_repository::Location;
    use uuid::Uuid;

    use super::{TenureError, TenureFile};

    #[test]
    fn it_is_remembered_which_repository_was_where() {
        let folder = tempfile::tempdir().unwrap();
        let file = TenureFile::of(folder.path());
        let (here, there): (Location, Location) = ("/here".parse().unwrap(), "/there".parse().unwrap());
        let (first, id) = (file.read().unwrap(), Uuid::new_v4());
        assert_eq!(first.repository_at(&here), None);
        file.write(&first.clone().with(&here, id)).unwrap();
        let read = file.read().unwrap();
        assert_eq!((read.layer, read.repository_at(&here), read.repository_at(&there)), (first.layer, Some(id), None));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named_with_its_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let file = TenureFile::of(folder.path());
        let path = folder.path().join("repository.json");
        for damaged in ["", "{", r#"{"version":1}"#, "\0\0\0\0"] {
            std::fs::write(&path, damaged).unwrap();
            let error = file.read().unwrap_err();
            assert!(matches!(error, TenureError::Damaged { .. }), "{error}");
            let told = error.to_string();
            assert!(told.contains(path.to_str().unwrap()) && told.contains("mainstay repository take-over"), "{told}");
            assert_eq!(file.read_or_forget().unwrap().repository, None);
        }
        std::fs::write(&path, r#"{"version":2}"#).unwrap();
        let error = file.read_or_forget().unwrap_err();
        assert!(
            matches!(error, TenureError::Version { found: 2, .. }),
            "what is of another version is not forgotten: {error}"
        );
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(matches!(file.read_or_forget(), Err(TenureError::File { .. })));
    }
}
