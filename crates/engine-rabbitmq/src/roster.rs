//! `instances.json`: the virtual hosts that were made, so that a node which comes back without their messages is noticed.
//!
//! A node whose message store of a virtual host is gone makes an empty one and says nothing. Ours, out of its reach.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use mainstay_engine::EngineError;
use mainstay_engine::supervise::{ClusterDirectory, write_own_file};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

/// The version of the file's form.
const FORMAT: u32 = 1;
const NAME: &str = "instances.json";

/// The record of a cluster's virtual hosts.
#[derive(Debug)]
pub(crate) struct Roster {
    directory: ClusterDirectory,
    /// Several are made at once, and each rewrites the file.
    turn: Mutex<()>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    format: u32,
    virtual_hosts: BTreeSet<String>,
    /// Those whose messages were found to be gone. The cluster is not started until a person has seen to it.
    #[serde(default)]
    lost: BTreeSet<String>,
}

impl Roster {
    pub fn new(directory: ClusterDirectory) -> Self {
        Self { directory, turn: Mutex::default() }
    }

    /// A virtual host was made.
    pub async fn add(&self, name: &str) -> Result<(), EngineError> {
        self.change(|record| record.virtual_hosts.insert(name.to_owned())).await
    }

    /// A virtual host is about to be removed.
    pub async fn remove(&self, name: &str) -> Result<(), EngineError> {
        self.change(|record| record.virtual_hosts.remove(name) | record.lost.remove(name)).await
    }

    /// These are all that there are.
    pub async fn replace(&self, names: BTreeSet<String>) -> Result<(), EngineError> {
        self.change(|record| std::mem::replace(&mut record.virtual_hosts, names.clone()) != names).await
    }

    /// The messages of these are gone.
    pub async fn lose(&self, names: &BTreeSet<String>) -> Result<(), EngineError> {
        self.change(|record| {
            let before = record.lost.len();
            record.lost.extend(names.iter().cloned());
            record.lost.len() > before
        })
        .await
    }

    /// Those that were made and are not among these.
    pub fn missing_among(&self, names: &BTreeSet<String>) -> Result<BTreeSet<String>, EngineError> {
        Ok(self.read()?.virtual_hosts.difference(names).cloned().collect())
    }

    /// Refuses a cluster of which messages were found to be gone, until a person says that they are back or not needed.
    pub fn refuse_lost(&self) -> Result<(), EngineError> {
        let lost = self.read()?.lost;
        if lost.is_empty() {
            return Ok(());
        }
        let names = lost.into_iter().collect::<Vec<_>>().join(", ");
        Err(EngineError::permanent(
            format!("the stored messages of {names} are gone, and the queues are not served empty"),
            format!(
                "restore the cluster's data directory from a backup; then, or to accept the loss, remove {}",
                self.path().display()
            ),
        ))
    }

    async fn change(&self, change: impl FnOnce(&mut Record) -> bool) -> Result<(), EngineError> {
        let _turn = self.turn.lock().await;
        let mut record = self.read()?;
        if !change(&mut record) {
            return Ok(());
        }
        record.format = FORMAT;
        let text = serde_json::to_string(&record).expect("names are always JSON");
        write_own_file(self.directory.root(), NAME, &text)
    }

    /// No file is an empty record: nothing was made yet, or a person has removed it.
    fn read(&self) -> Result<Record, EngineError> {
        let unread = |reason: String| {
            EngineError::permanent(
                format!("{} can not be read: {reason}", self.path().display()),
                "restore it, or remove it: then it is not noticed when messages are gone",
            )
        };
        match fs::read(self.path()) {
            Ok(text) => match serde_json::from_slice::<Record>(&text) {
                Ok(record) if record.format == FORMAT => Ok(record),
                Ok(record) => Err(unread(format!("its format is {}", record.format))),
                Err(error) => Err(unread(error.to_string())),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Record::default()),
            Err(error) => Err(unread(error.to_string())),
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.root().join(NAME)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use mainstay_engine::supervise::ClusterDirectory;

    use super::Roster;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[tokio::test]
    async fn what_was_made_is_missed_until_it_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let directory = ClusterDirectory::new(folder.path(), &"rabbitmq-1".parse().unwrap());
        std::fs::create_dir(directory.root()).unwrap();
        let roster = Roster::new(directory);
        assert_eq!(roster.missing_among(&names(&[])).unwrap(), names(&[]));
        roster.add("i_1").await.unwrap();
        roster.add("i_2").await.unwrap();
        assert_eq!(roster.missing_among(&names(&["i_1", "i_3"])).unwrap(), names(&["i_2"]));
        roster.lose(&names(&["i_2"])).await.unwrap();
        let refusal = roster.refuse_lost().unwrap_err().to_string();
        assert!(refusal.contains("i_2") && refusal.contains("instances.json"), "{refusal}");
        roster.remove("i_2").await.unwrap();
        roster.refuse_lost().unwrap();
        assert_eq!(roster.missing_among(&names(&["i_1"])).unwrap(), names(&[]));
    }

    #[test]
    fn the_file_of_the_first_version_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let directory = ClusterDirectory::new(folder.path(), &"rabbitmq-1".parse().unwrap());
        std::fs::create_dir(directory.root()).unwrap();
        let sample = r#"{"format":1,"virtual_hosts":["i_1"],"lost":[]}"#;
        std::fs::write(directory.root().join("instances.json"), sample).unwrap();
        let roster = Roster::new(directory);
        assert_eq!(roster.missing_among(&names(&[])).unwrap(), names(&["i_1"]));
        std::fs::write(roster.path(), "{").unwrap();
        assert!(roster.refuse_lost().unwrap_err().to_string().contains("can not be read"));
    }
}
