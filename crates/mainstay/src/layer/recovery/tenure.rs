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

/// Makes a repository that of the layer in a data directory, whoever kept it until now. One that can only be read is recovered from all
/// the same.
pub(crate) async fn take_over(repository: &Repository, data_dir: &Path) -> io::Result<()> {
    let file = TenureFile::of(data_dir);
    let tenure = file.read()?.with(repository.location(), repository.id());
    file.write(&tenure)?;
    if let Err(error) = repository.take_over_for(tenure.layer, &mut Contender::new()).await {
        let error = chain(&error);
        tracing::warn!(error, "the repository is not taken over: if the layer that wrote it runs still, end that one");
    }
    Ok(())
}

// === impl TenureFile ===

impl TenureFile {
    pub fn of(data_dir: &Path) -> Self {
        Self(data_dir.join(FILE))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn read(&self) -> io::Result<Tenure> {
        let text = match fs::read(&self.0) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(Tenure { version: VERSION, layer: Uuid::new_v4(), repository: None, location: None });
            }
            text => text?,
        };
        let tenure: Tenure = serde_json::from_slice(&text)?;
        match tenure.version {
            VERSION => Ok(tenure),
            _ => Err(ErrorKind::Unsupported.into()),
        }
    }

    /// Writes it, durably, where it is not written yet.
    pub fn write(&self, tenure: &Tenure) -> io::Result<()> {
        if self.0.exists() && self.read().is_ok_and(|written| written == *tenure) {
            return Ok(());
        }
        let unfinished = self.0.with_extension("new");
        fs::write(&unfinished, serde_json::to_vec_pretty(tenure)?)?;
        File::open(&unfinished)?.sync_all()?;
        fs::rename(&unfinished, &self.0)?;
        File::open(self.0.parent().unwrap_or(Path::new("/")))?.sync_all()
    }
}

// === impl Tenure ===

impl Tenure {
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

    use super::TenureFile;

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
        std::fs::write(file.path(), r#"{"version":2}"#).unwrap();
        assert!(file.read().is_err(), "what is of another version is not overwritten");
    }
}
