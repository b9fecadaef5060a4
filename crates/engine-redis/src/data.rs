//! The data directory of a cluster: which cluster's it is, and the files that we write into it.
//!
//! ```text
//! data/ cluster.json   which cluster's data it is
//!       server.conf    the settings
//!       users.acl      the users; the server writes it too
//!       appendonlydir/ the append-only file, where the data outlives the server
//! ```

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use mainstay_engine::EngineError;
use mainstay_engine::supervise::{ClusterDirectory, EngineUser, read_file, write_derived_file, write_file};
use mainstay_types::InstanceId;
use serde::{Deserialize, Serialize};

use crate::user::{ADMIN, DEFAULT, User, parse_line};

/// The version of `cluster.json`.
const FORMAT: u32 = 1;
const RECORD: &str = "cluster.json";
pub(crate) const SETTINGS: &str = "server.conf";
pub(crate) const USERS: &str = "users.acl";
/// Random bytes in an identity: as many as a UUID has.
const IDENTITY_BYTES: usize = 16;

/// Which cluster's data a directory holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    format: u32,
    pub identity: String,
    /// Whether the identity is in the server's own data too, and has to be there at each start.
    pub marked: bool,
}

/// What is where the data should be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum DataDirectory {
    Missing,
    /// Something that we did not make, or that lost its record.
    Foreign,
    Of(Record),
}

impl Record {
    /// The same with another identity.
    pub fn named(self, identity: &str) -> Self {
        Self { identity: identity.to_owned(), ..self }
    }

    /// The record of data that tells its identity itself.
    pub fn marked(self) -> Self {
        Self { marked: true, ..self }
    }
}

impl DataDirectory {
    /// Looks.
    pub fn look(directory: &ClusterDirectory) -> Self {
        if !directory.data().exists() {
            return Self::Missing;
        }
        let record = read_file(directory.data().join(RECORD)).ok();
        let record = record.and_then(|text| serde_json::from_str::<Record>(&text).ok());
        match record.filter(|record| record.format == FORMAT) {
            Some(record) => Self::Of(record),
            None => Self::Foreign,
        }
    }
}

/// Makes a data directory with an identity of its own, whole or not at all.
pub(crate) fn initialise(directory: &ClusterDirectory, user: &EngineUser) -> Result<Record, EngineError> {
    let mut bytes = [0; IDENTITY_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| EngineError::transient(format!("no random bytes: {error}")))?;
    let identity = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let record = Record { format: FORMAT, identity, marked: false };
    let new = directory.make_empty("data.new", user)?;
    write_record_in(&new, &record, user)?;
    let failed = |error| EngineError::transient_from("the data directory could not be put in place", error);
    fs::rename(&new, directory.data()).map_err(failed)?;
    File::open(directory.root()).and_then(|root| root.sync_all()).map_err(failed)?;
    Ok(record)
}

/// Writes which cluster's data it is.
pub(crate) fn write_record(
    directory: &ClusterDirectory,
    record: &Record,
    user: &EngineUser,
) -> Result<(), EngineError> {
    write_record_in(&directory.data(), record, user)
}

pub(crate) fn write_record_in(data: &Path, record: &Record, user: &EngineUser) -> Result<(), EngineError> {
    let text =
        serde_json::to_string(record).map_err(|error| EngineError::transient_from("no record was made", error))?;
    write_file(data, RECORD, &text, user)
}

/// Sees to it that the users' file has us in it, and nobody who needs no password, before a server reads it. Who else is in it
/// stays.
pub(crate) fn prepare_users(directory: &ClusterDirectory, hash: &str, user: &EngineUser) -> Result<(), EngineError> {
    let path = directory.data().join(USERS);
    let found = match read_file(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(EngineError::transient_from(format!("{} could not be read", path.display()), error)),
        Ok(text) => text,
    };
    let text = with_us(&found, hash);
    match found.is_empty() {
        // The server itself puts it on disk before anybody else is in it.
        true => write_derived_file(&directory.data(), USERS, &text, user),
        false => write_file(&directory.data(), USERS, &text, user),
    }
}

/// Takes users from the file of a server that cannot be asked to, and that reads it when it starts again.
pub(crate) fn remove_users(
    directory: &ClusterDirectory,
    is_going: impl Fn(&str, &User) -> bool,
    user: &EngineUser,
) -> Result<(), EngineError> {
    let path = directory.data().join(USERS);
    let text = read_file(&path)
        .map_err(|error| EngineError::transient_from(format!("{} could not be read", path.display()), error))?;
    let stays = |line: &&str| parse_line(line).is_none_or(|(name, user)| !is_going(&name, &user));
    let text: String = text.lines().filter(stays).flat_map(|line| [line, "\n"]).collect();
    write_file(&directory.data(), USERS, &text, user)
}

/// Pure half of [`prepare_users`].
fn with_us(text: &str, hash: &str) -> String {
    let ours = |line: &&str| {
        let name = line.split_ascii_whitespace().nth(1);
        matches!(name, Some(DEFAULT | ADMIN))
    };
    // What is no user is what a machine that lost its power left there.
    let others = text.lines().filter(|line| line.starts_with("user ")).filter(|line| !ours(line));
    let mut lines = vec![format!("user {DEFAULT} off ~* &* +@all"), format!("user {ADMIN} on #{hash} ~* &* +@all")];
    lines.extend(others.map(str::to_owned));
    lines.join("\n") + "\n"
}

/// Whether the cluster is closed to its clients until it is opened: kept outside the engine's reach, so that a start keeps to it.
pub(crate) fn is_closed(directory: &ClusterDirectory) -> bool {
    closed_file(directory).exists()
}

/// Keeps a cluster closed to its clients, or no longer.
pub(crate) fn keep_closed(directory: &ClusterDirectory, closed: bool) -> Result<(), EngineError> {
    keep(directory, &closed_file(directory), closed)
}

/// Whether an instance lets nobody in until it was restored: half of its data may be there.
pub(crate) fn is_instance_closed(directory: &ClusterDirectory, instance: &InstanceId) -> bool {
    closed_instance_file(directory, instance).exists()
}

/// Keeps an instance closed to its bindings, or no longer.
pub(crate) fn keep_instance_closed(
    directory: &ClusterDirectory,
    instance: &InstanceId,
    closed: bool,
) -> Result<(), EngineError> {
    keep(directory, &closed_instance_file(directory, instance), closed)
}

fn keep(directory: &ClusterDirectory, path: &Path, closed: bool) -> Result<(), EngineError> {
    let kept = match closed {
        true => File::create(path).and_then(|file| file.sync_all()),
        false => match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        },
    };
    let durable = kept.and_then(|()| File::open(directory.root())?.sync_all());
    durable.map_err(|error| EngineError::transient_from(format!("{} could not be changed", path.display()), error))
}

fn closed_file(directory: &ClusterDirectory) -> PathBuf {
    directory.root().join("closed")
}

fn closed_instance_file(directory: &ClusterDirectory, instance: &InstanceId) -> PathBuf {
    directory.root().join(format!("closed-{}", instance.suffix()))
}

#[cfg(test)]
mod tests {
    use super::{Record, with_us};

    #[test]
    fn we_are_in_the_users_file_and_nobody_without_a_password_is() {
        let expected = "user default off ~* &* +@all\nuser mainstay on #aa ~* &* +@all\n";
        assert_eq!(with_us("", "aa"), expected);
        let damaged =
            "user b_x_1 on #bb ~* -@all\nuser default on nopass ~* &* +@all\n\n\0\nuser mainstay on #old +@all\n";
        assert_eq!(with_us(damaged, "aa"), format!("{expected}user b_x_1 on #bb ~* -@all\n"));
        assert_eq!(with_us(expected, "aa"), expected);
    }

    #[test]
    fn the_first_version_of_the_record_is_read() {
        let record: Record = serde_json::from_str(r#"{"format":1,"identity":"00ff","marked":true}"#).unwrap();
        assert_eq!(record, Record { format: 1, identity: "00ff".to_owned(), marked: true });
    }
}
