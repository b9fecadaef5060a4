//! A server's data directory: made, recognised, configured.

use std::fs::{self, File};
use std::io;
use std::process::Command;
use std::time::Duration;

use mainstay_engine::EngineError;
use mainstay_engine::supervise::{ClusterDirectory, EngineUser, changed_file, read_file, run_program, write_file};

use crate::install::Installation;
use crate::names::ADMIN_ROLE;

/// The longest that initialising takes; it takes seconds on a slow disk.
const INITDB_PATIENCE: Duration = Duration::from_secs(120);
/// The longest that a program takes which only reads.
const READ_PATIENCE: Duration = Duration::from_secs(10);
/// Where a data directory is made before it gets its name.
const UNFINISHED: &str = "data.new";
/// With a time zone given, initdb does not go through all there are to find the machine's.
pub(crate) const ENVIRONMENT: [(&str, &str); 2] = [("LC_ALL", "C.UTF-8"), ("TZ", "UTC")];

/// Files that we write into a data directory, by name, with their text.
pub(crate) type Files = [(&'static str, String); 3];

/// What is where a data directory should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DataDirectory {
    Missing,
    /// Something that no PostgreSQL server made, or not wholly.
    Foreign,
    Of {
        major: u32,
    },
}

impl DataDirectory {
    /// Looks at a cluster's.
    pub fn look(directory: &ClusterDirectory) -> Self {
        let data = directory.data();
        match read_file(data.join("PG_VERSION")) {
            Ok(text) => text.trim().parse().map_or(Self::Foreign, |major| Self::Of { major }),
            Err(_) if fs::read_dir(&data).is_ok_and(|mut entries| entries.next().is_some()) => Self::Foreign,
            Err(_) => Self::Missing,
        }
    }
}

/// Makes a data directory, whole or not at all.
pub(crate) async fn initialise(
    directory: &ClusterDirectory,
    installation: &Installation,
    user: &EngineUser,
) -> Result<(), EngineError> {
    let unfinished = directory.make_empty(UNFINISHED, user)?;
    // The collation is that of code points on purpose: it is the same on every machine and does not change with
    // a new glibc or ICU, which silently breaks every index on text.
    let locale: &[&str] = match installation.major {
        17.. => &["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C.UTF-8"],
        _ => &["--locale-provider=libc", "--locale=C.UTF-8"],
    };
    let mut command = Command::new(installation.program("initdb"));
    command
        .arg("--pgdata")
        .arg(&unfinished)
        .args(["--username", ADMIN_ROLE, "--encoding=UTF8", "--data-checksums"])
        .args(["--auth-local=peer", "--auth-host=scram-sha-256", "--no-instructions"])
        // One call to the file system afterwards instead of one for each of a thousand files.
        .arg("--no-sync")
        .args(locale)
        .current_dir(&unfinished);
    run_program(command, &ENVIRONMENT, user, INITDB_PATIENCE).await?;
    let data = directory.data();
    let finish = tokio::task::spawn_blocking({
        let root = directory.root().to_owned();
        move || {
            rustix::fs::syncfs(File::open(&unfinished)?)?;
            fs::rename(&unfinished, &data)?;
            File::open(&root)?.sync_all()
        }
    });
    let finished = finish.await.unwrap_or_else(|error| Err(io::Error::other(error)));
    finished.map_err(|error| EngineError::transient_from("a new cluster's data could not be put on disk", error))
}

/// The system identifier of a data directory, asked of the server's own tool.
pub(crate) async fn identity(
    directory: &ClusterDirectory,
    installation: &Installation,
    user: &EngineUser,
) -> Result<String, EngineError> {
    let mut command = Command::new(installation.program("pg_controldata"));
    command.arg("--pgdata").arg(directory.data()).current_dir("/");
    let output = run_program(command, &ENVIRONMENT, user, READ_PATIENCE).await?;
    let text = String::from_utf8_lossy(&output.stdout);
    let identity = text.lines().find_map(|line| line.strip_prefix("Database system identifier:"));
    identity.map(|identity| identity.trim().to_owned()).ok_or_else(|| {
        EngineError::transient(format!("pg_controldata named no system identifier of {}", directory.data().display()))
    })
}

/// Writes the files whose text is another, each whole or not at all.
pub(crate) fn configure(directory: &ClusterDirectory, files: &Files, user: &EngineUser) -> Result<(), EngineError> {
    let data = directory.data();
    files.iter().try_for_each(|(name, text)| write_file(&data, name, text, user))
}

/// What differs from what we would write, and what somebody set with `ALTER SYSTEM`.
pub(crate) fn changed_settings(directory: &ClusterDirectory, files: &Files) -> Vec<String> {
    let data = directory.data();
    let mut changes: Vec<String> = files.iter().filter_map(|(name, text)| changed_file(&data, name, text)).collect();
    let automatic = read_file(data.join("postgresql.auto.conf")).unwrap_or_default();
    changes.extend(names_set(&automatic).map(|name| format!("{name} was set with ALTER SYSTEM")));
    changes
}

/// Removes what a dead server left behind to say that it runs. Its process ids may be another program's by now,
/// for which a new server would take the old one to be alive.
///
/// The cluster has to be locked, and no process may work in its data directory.
pub(crate) fn remove_stale_locks(directory: &ClusterDirectory) -> io::Result<()> {
    let pid_file = directory.data().join("postmaster.pid");
    let sockets = fs::read_dir(directory.run())?.flatten().map(|entry| entry.path());
    for path in sockets.chain([pid_file]) {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// The state that a server writes into the eighth line of `postmaster.pid`, where it is this process's.
pub(crate) fn server_state(directory: &ClusterDirectory, pid: i32) -> Option<String> {
    let text = read_file(directory.data().join("postmaster.pid")).ok()?;
    let mut lines = text.lines();
    let own = lines.next()?.trim().parse::<i32>().ok()? == pid;
    own.then(|| lines.nth(6).map(|state| state.trim().to_owned()))?
}

fn names_set(automatic: &str) -> impl Iterator<Item = &str> {
    let lines = automatic.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    // The name only: a value can be a secret.
    lines.map(|line| line.split(['=', ' ']).next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::names_set;

    #[test]
    fn settings_of_alter_system() {
        let text = "# Do not edit this file manually!\nwork_mem = '8MB'\n\n  search_path='a'\n";
        assert_eq!(names_set(text).collect::<Vec<_>>(), ["work_mem", "search_path"]);
        assert_eq!(names_set("").count(), 0);
    }
}
