//! A server's data directory: made, recognised, configured.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, fchown};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use mainstay_engine::EngineError;
use mainstay_engine::supervise::{ClusterDirectory, EngineUser, confine};
use mainstay_types::{ClusterName, EngineName};

use crate::install::Installation;
use crate::names::ADMIN_ROLE;

/// The longest that initialising takes; it takes seconds on a slow disk.
const INITDB_PATIENCE: Duration = Duration::from_secs(120);
/// The longest that a program takes which only reads.
const READ_PATIENCE: Duration = Duration::from_secs(10);
/// Where a data directory is made before it gets its name.
const UNFINISHED: &str = "data.new";
/// How many of a failed program's last lines are repeated.
const REPEATED_LINES: usize = 3;

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
        match fs::read_to_string(data.join("PG_VERSION")) {
            Ok(text) => text.trim().parse().map_or(Self::Foreign, |major| Self::Of { major }),
            Err(_) if fs::read_dir(&data).is_ok_and(|mut entries| entries.next().is_some()) => Self::Foreign,
            Err(_) => Self::Missing,
        }
    }
}

/// The clusters of an engine that have a directory here.
pub(crate) fn clusters(clusters_dir: &Path, engine: &EngineName) -> Vec<ClusterName> {
    let prefix = format!("{engine}-");
    // Where there is no such directory there are no clusters either.
    let entries = fs::read_dir(clusters_dir).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<ClusterName>().ok());
    names.filter(|name| name.as_str().starts_with(&prefix)).collect()
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
    run(command, user, INITDB_PATIENCE).await?;
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
    command.arg("--pgdata").arg(directory.data()).env("LC_ALL", "C").current_dir("/");
    let output = run(command, user, READ_PATIENCE).await?;
    let text = String::from_utf8_lossy(&output.stdout);
    let identity = text.lines().find_map(|line| line.strip_prefix("Database system identifier:"));
    identity.map(|identity| identity.trim().to_owned()).ok_or_else(|| {
        EngineError::transient(format!("pg_controldata named no system identifier of {}", directory.data().display()))
    })
}

/// Writes the files whose text is another, each whole or not at all.
pub(crate) fn configure(directory: &ClusterDirectory, files: &Files, user: &EngineUser) -> Result<(), EngineError> {
    let data = directory.data();
    for (name, text) in files {
        replace(&data, name, text, user).map_err(|error| {
            EngineError::transient_from(format!("{} could not be written", data.join(name).display()), error)
        })?;
    }
    Ok(())
}

/// What differs from what we would write, and what somebody set with `ALTER SYSTEM`.
pub(crate) fn changed_settings(directory: &ClusterDirectory, files: &Files) -> Vec<String> {
    let data = directory.data();
    let mut changes = Vec::new();
    for (name, text) in files {
        match fs::read_to_string(data.join(name)) {
            Ok(found) if found == *text => {}
            Ok(_) => changes.push(format!("{name} is not as it was written")),
            Err(error) => changes.push(format!("{name} can not be read: {error}")),
        }
    }
    let automatic = fs::read_to_string(data.join("postgresql.auto.conf")).unwrap_or_default();
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
    let text = fs::read_to_string(directory.data().join("postmaster.pid")).ok()?;
    let mut lines = text.lines();
    let own = lines.next()?.trim().parse::<i32>().ok()? == pid;
    own.then(|| lines.nth(6).map(|state| state.trim().to_owned()))?
}

fn names_set(automatic: &str) -> impl Iterator<Item = &str> {
    let lines = automatic.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    // The name only: a value can be a secret.
    lines.map(|line| line.split(['=', ' ']).next().unwrap_or_default())
}

fn replace(data: &Path, name: &str, text: &str, user: &EngineUser) -> io::Result<()> {
    let path = data.join(name);
    if fs::read_to_string(&path).is_ok_and(|found| found == text) {
        return Ok(());
    }
    let temporary = data.join(format!("{name}.new"));
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // A new file, never one that is there: the directory is the engine's, and a link in it could lead elsewhere.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    fchown(&file, Some(user.uid), Some(user.gid))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, &path)?;
    File::open(data)?.sync_all()
}

/// Runs one of the server's programs as the engine's user.
async fn run(mut command: Command, user: &EngineUser, patience: Duration) -> Result<Output, EngineError> {
    let program = command.get_program().to_string_lossy().into_owned();
    confine(&mut command, user);
    // With a time zone given, initdb does not go through all there are to find the machine's.
    command.envs([("LC_ALL", "C.UTF-8"), ("TZ", "UTC")]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let running = tokio::process::Command::from(command).kill_on_drop(true).output();
    match tokio::time::timeout(patience, running).await {
        Err(_) => Err(EngineError::transient(format!("{program} did not end within {patience:?}"))),
        Ok(Err(error)) => Err(EngineError::transient_from(format!("{program} could not be started"), error)),
        Ok(Ok(output)) if output.status.success() => Ok(output),
        Ok(Ok(output)) => {
            let text = String::from_utf8_lossy(&output.stderr);
            let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
            let last = lines[lines.len().saturating_sub(REPEATED_LINES)..].join(" | ");
            Err(EngineError::transient(format!("{program} failed: {last}")))
        }
    }
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
