//! How far a cluster has become a copy of another one: kept in its directory, so that a move goes on after any crash.

use std::fs;
use std::io;
use std::path::PathBuf;

use mainstay_engine::EngineError;
use mainstay_engine::supervise::{ClusterDirectory, EngineUser, write_file};
use serde::{Deserialize, Serialize};

/// The version of `copy.json`.
const FORMAT: u32 = 1;
const NAME: &str = "copy.json";

/// A step of a copy. Each is reached once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Step {
    /// It follows its source.
    Following,
    /// It was seen to have all that its source had after the last client of that was gone.
    Complete,
    /// It stands for itself.
    Promoted,
}

/// A copy of a cluster with an identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Copy {
    format: u32,
    /// The identity of its source.
    pub source: String,
    pub step: Step,
    /// When its source began to let writes wait for it, in microseconds since the epoch. None before, and in files of
    /// versions that did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_at: Option<i64>,
}

impl Copy {
    pub fn new(source: String, step: Step) -> Self {
        Self { format: FORMAT, source, step, paused_at: None }
    }

    /// What a cluster is a copy of; none where it is none.
    pub fn read(directory: &ClusterDirectory) -> Result<Option<Self>, EngineError> {
        let path = Self::path(directory);
        let failed = |reason: &dyn std::fmt::Display| {
            EngineError::permanent(
                format!("{} can not be read: {reason}", path.display()),
                "put the file back, or remove the cluster and copy again",
            )
        };
        match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(&error)),
            Ok(text) => match serde_json::from_slice::<Self>(&text) {
                Ok(copy) if copy.format == FORMAT => Ok(Some(copy)),
                Ok(copy) => Err(failed(&format!("its format {} is not known", copy.format))),
                Err(error) => Err(failed(&error)),
            },
        }
    }

    /// Whether what a cluster holds is another one's still.
    pub fn is_unfinished(directory: &ClusterDirectory) -> Result<bool, EngineError> {
        Ok(Self::read(directory)?.is_some_and(|copy| copy.step != Step::Promoted))
    }

    /// Puts on disk how far it is.
    pub fn write(&self, directory: &ClusterDirectory) -> Result<(), EngineError> {
        let ourselves = EngineUser::ourselves()
            .map_err(|error| EngineError::transient_from("who we are could not be looked up", error))?;
        let text =
            serde_json::to_string(self).map_err(|error| EngineError::transient_from("no record was made", error))?;
        write_file(directory.root(), NAME, &text, &ourselves)
    }

    fn path(directory: &ClusterDirectory) -> PathBuf {
        directory.root().join(NAME)
    }
}

#[cfg(test)]
mod tests {
    use super::{Copy, Step};

    #[test]
    fn the_first_version_is_read() {
        let copy: Copy = serde_json::from_str(r#"{"format":1,"source":"00ff","step":"complete"}"#).unwrap();
        assert_eq!(copy, Copy::new("00ff".to_owned(), Step::Complete));
        assert!(!serde_json::to_string(&copy).unwrap().contains("paused_at"));
    }
}
