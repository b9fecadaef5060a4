//! A node's data directory: made, recognised, configured.
//!
//! ```text
//! data/ identity.json     which cluster's data this is
//!       home/             .erlang.cookie, which whoever wants to control the node has to know
//!       etc/              the files of `settings`
//!       mnesia/NODE/      definitions, queues, messages
//!       generated/ schema/ log/
//! ```

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use mainstay_engine::EngineError;
use mainstay_engine::supervise::{ClusterDirectory, EngineUser, changed_file, read_file, write_file};
use serde::{Deserialize, Serialize};

use crate::names::NODE;
use crate::settings::Files;

/// The version of `identity.json`.
const FORMAT: u32 = 1;
const IDENTITY: &str = "identity.json";
/// Where a data directory is made before it gets its name.
const UNFINISHED: &str = "data.new";
/// The directories that it has from the beginning.
const DIRECTORIES: [&str; 6] = ["home", "etc", "mnesia", "generated", "schema", "log"];
/// Random bytes of an identity, which no two clusters share.
const IDENTITY_BYTES: usize = 16;
/// Random bytes of an Erlang cookie.
const COOKIE_BYTES: usize = 32;

/// What is where a data directory should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DataDirectory {
    Missing,
    /// Something that we did not make, or not wholly.
    Foreign,
    Of {
        identity: String,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct Identity {
    format: u32,
    identity: String,
}

impl DataDirectory {
    /// Looks at a cluster's.
    pub fn look(directory: &ClusterDirectory) -> Self {
        let data = directory.data();
        let found = read_file(data.join(IDENTITY)).ok();
        match found.and_then(|text| serde_json::from_str::<Identity>(&text).ok()) {
            Some(found) if found.format == FORMAT => Self::Of { identity: found.identity },
            _ if fs::read_dir(&data).is_ok_and(|mut entries| entries.next().is_some()) => Self::Foreign,
            _ => Self::Missing,
        }
    }
}

/// Makes a data directory, whole or not at all, and answers its identity.
pub(crate) fn initialise(directory: &ClusterDirectory, user: &EngineUser) -> Result<String, EngineError> {
    let unfinished = directory.make_empty(UNFINISHED, user)?;
    for name in DIRECTORIES {
        directory.make_empty(&format!("{UNFINISHED}/{name}"), user)?;
    }
    write_file(&unfinished.join("home"), ".erlang.cookie", &random::<COOKIE_BYTES>()?, user)?;
    let identity = random::<IDENTITY_BYTES>()?;
    let text = serde_json::to_string(&Identity { format: FORMAT, identity: identity.clone() });
    write_file(&unfinished, IDENTITY, &text.expect("text is always JSON"), user)?;
    let finish = || {
        fs::rename(&unfinished, directory.data())?;
        File::open(directory.root())?.sync_all()
    };
    finish().map_err(|error| EngineError::transient_from("a new cluster's data could not be put in place", error))?;
    Ok(identity)
}

/// Where the node's settings are.
pub(crate) fn settings(directory: &ClusterDirectory) -> PathBuf {
    directory.data().join("etc")
}

/// Writes the files whose text is another, each whole or not at all.
pub(crate) fn configure(directory: &ClusterDirectory, files: &Files, user: &EngineUser) -> Result<(), EngineError> {
    let settings = settings(directory);
    files.iter().try_for_each(|(name, text)| write_file(&settings, name, text, user))
}

/// What differs from what we would write.
pub(crate) fn changed_settings(directory: &ClusterDirectory, files: &Files) -> Vec<String> {
    let settings = settings(directory);
    files.iter().filter_map(|(name, text)| changed_file(&settings, name, text)).collect()
}

/// The directory of a node that has run once of which nothing is there any more, though it never goes by itself.
pub(crate) fn emptied(directory: &ClusterDirectory) -> Option<PathBuf> {
    let node = directory.data().join("mnesia").join(NODE);
    let log_of_quorum_queues = node.join("quorum").join(NODE);
    [node, log_of_quorum_queues].into_iter().find(|path| is_empty(path))
}

/// The virtual hosts whose messages have a directory. A node that starts makes anew the ones that are missing.
pub(crate) fn virtual_hosts_with_messages(directory: &ClusterDirectory) -> BTreeSet<String> {
    let stores = directory.data().join("mnesia").join(NODE).join("msg_stores").join("vhosts");
    let entries = fs::read_dir(stores).into_iter().flatten().flatten();
    entries.filter_map(|entry| read_file(entry.path().join(".vhost")).ok()).collect()
}

fn is_empty(path: &Path) -> bool {
    fs::read_dir(path).map_or(true, |mut entries| entries.next().is_none())
}

/// Letters and digits.
fn random<const BYTES: usize>() -> Result<String, EngineError> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(|error| EngineError::transient(format!("no random bytes: {error}")))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use mainstay_engine::supervise::{ClusterDirectory, EngineUser};

    use super::{DataDirectory, initialise};

    #[test]
    fn a_directory_is_made_whole_and_recognised() {
        let folder = tempfile::tempdir().unwrap();
        let directory = ClusterDirectory::new(folder.path(), &"rabbitmq-1".parse().unwrap());
        assert_eq!(DataDirectory::look(&directory), DataDirectory::Missing);
        let identity = initialise(&directory, &EngineUser::ourselves().unwrap()).unwrap();
        assert_eq!(identity.len(), 32);
        assert_eq!(DataDirectory::look(&directory), DataDirectory::Of { identity });
        std::fs::write(directory.data().join("identity.json"), r#"{"format":1,"identity":"abc"}"#).unwrap();
        assert_eq!(DataDirectory::look(&directory), DataDirectory::Of { identity: "abc".to_owned() });
        std::fs::write(directory.data().join("identity.json"), "").unwrap();
        assert_eq!(DataDirectory::look(&directory), DataDirectory::Foreign);
    }
}
