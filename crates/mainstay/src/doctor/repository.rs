//! Whether backups have a place, one that is not lost with the data, and whether somebody keeps the key to them.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use mainstay_repository::Location;
use serde::Deserialize;

use super::Check;
use super::facts::Folder;
use super::judge::{DISK_NEEDED, DISK_WANTED, size};
use crate::config::Config;

/// How long the layer has for its answer, which it gives whether its repository does or not.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(4);
/// The longest token that is read.
const LONGEST_TOKEN: u64 = 4096;

/// What is known of the repository.
#[derive(Debug)]
pub(super) struct Repository {
    /// None where the configuration names none.
    pub place: Option<Place>,
    /// Whether somebody has said that there is to be none.
    pub declined: bool,
    /// What the layer says, where it runs and this user may ask.
    pub told: Option<Told>,
}

#[derive(Debug)]
pub(super) struct Place {
    pub location: String,
    pub directory: Option<Directory>,
    /// How many copies elsewhere there are.
    pub copies: usize,
}

/// A repository on this machine.
#[derive(Debug)]
pub(super) struct Directory {
    pub folder: Folder,
    pub free_bytes: Option<u64>,
    /// Whether it is on the file system that the data is on.
    pub beside_data: bool,
}

/// What a running layer says of its recovery.
#[derive(Debug, Deserialize)]
pub(super) struct Told {
    pub repository: Option<ToldRepository>,
    pub key: ToldKey,
}

#[derive(Debug, Deserialize)]
pub(super) struct ToldRepository {
    /// Why it can not be used.
    pub trouble: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ToldKey {
    pub acknowledged_at: Option<String>,
}

impl Repository {
    pub fn gather(config: &Config) -> Self {
        let place = config.recovery.repository.as_ref().map(|place| Place {
            location: place.location.to_string(),
            directory: match &place.location {
                Location::Directory(path) => Some(Directory::gather(path, &config.data_dir)),
                _ => None,
            },
            copies: config.recovery.copies.len(),
        });
        let told = ask(&config.listen.url(), &config.data_dir.join("admin.token"));
        Self { place, declined: config.recovery.declined, told }
    }
}

impl Directory {
    fn gather(path: &Path, data_dir: &Path) -> Self {
        let (folder, data) = (Folder::gather(path), Folder::gather(data_dir));
        let device = |folder: &Folder| folder.nearest.metadata().ok().map(|found| found.dev());
        Self {
            free_bytes: rustix::fs::statvfs(&folder.nearest).ok().map(|found| found.f_bavail * found.f_frsize),
            beside_data: device(&folder).is_some() && device(&folder) == device(&data),
            folder,
        }
    }
}

/// What a layer on this machine says; none where there is none, or this user has no token for it.
fn ask(url: &str, token_file: &Path) -> Option<Told> {
    // The token goes to this machine alone, and is not sent to what only looks like the layer's address.
    if !url.contains("://127.") && !url.contains("://[::1]") || token_file.metadata().ok()?.len() > LONGEST_TOKEN {
        return None;
    }
    let token = zeroize::Zeroizing::new(std::fs::read_to_string(token_file).ok()?);
    let bearer = zeroize::Zeroizing::new(format!("Bearer {}", token.trim()));
    let tls = ureq::tls::TlsConfig::builder().disable_verification(true).build();
    let config = ureq::Agent::config_builder().timeout_global(Some(ANSWER_TIMEOUT)).proxy(None).tls_config(tls);
    let request = config.build().new_agent().get(format!("{url}/api/v1/recovery")).header("authorization", &*bearer);
    request.call().ok()?.body_mut().read_json().ok()
}

/// What it means.
pub(super) fn judge(found: &Repository) -> Vec<Check> {
    let Some(place) = &found.place else {
        let remedy = "name a place for them with Recovery:Repository (Recovery__Repository)";
        return vec![match found.declined {
            true => Check::ok("repository", "none, as the configuration says: no backups are taken"),
            false => Check::warning("repository", "there is none, so that no backups are taken", remedy),
        }];
    };
    let mut checks = vec![reach(place, found.told.as_ref())];
    if let Some(directory) = &place.directory {
        checks.push(room(directory));
        checks.push(apart(directory, place.copies));
    }
    if let Some(told) = &found.told {
        checks.push(key(told));
    }
    checks
}

fn reach(place: &Place, told: Option<&Told>) -> Check {
    let location = &place.location;
    if let Some(trouble) = told.and_then(|told| told.repository.as_ref()?.trouble.as_ref()) {
        let remedy = "mend that; what could not be backed up meanwhile is backed up once it answers";
        return Check::failed("repository", format!("{location} cannot be used: {trouble}"), remedy);
    }
    match &place.directory {
        Some(directory) if !directory.folder.writable => Check::failed(
            "repository",
            format!("{location}: {} cannot be written to", directory.folder.nearest.display()),
            format!("make it this user's own: chown $(id -u) {}", directory.folder.nearest.display()),
        ),
        Some(directory) if directory.folder.mode.is_none() => {
            Check::ok("repository", format!("{location}, to be made"))
        }
        None if told.is_none() => {
            Check::ok("repository", format!("{location}; whether it answers shows while the layer runs"))
        }
        _ => Check::ok("repository", location.as_str()),
    }
}

fn room(directory: &Directory) -> Check {
    let (name, nearest) = ("repository's disk", directory.folder.nearest.display());
    let Some(free) = directory.free_bytes else {
        let detail = format!("the room under {nearest} cannot be told");
        return Check::warning(name, detail, "see that its file system is mounted");
    };
    let detail = format!("{} free under {nearest}", size(free));
    let remedy =
        "make room there, keep fewer backups (mainstay protect), or name another place with Recovery:Repository";
    match free {
        _ if free < DISK_NEEDED => Check::failed(name, detail, remedy),
        _ if free < DISK_WANTED => Check::warning(name, detail, remedy),
        _ => Check::ok(name, detail),
    }
}

fn apart(directory: &Directory, copies: usize) -> Check {
    let name = "repository apart";
    match (directory.beside_data, copies) {
        (true, 0) => Check::warning(
            name,
            "the backups are on the disk that the data is on, and are lost with it",
            "name a place on another machine with Recovery:Repository, or copies elsewhere with Recovery:Copies",
        ),
        (true, copies) => Check::ok(name, format!("on the disk that the data is on, with {copies} copies elsewhere")),
        (false, _) => Check::ok(name, "on another disk than the data"),
    }
}

fn key(told: &Told) -> Check {
    match &told.key.acknowledged_at {
        Some(at) => Check::ok("recovery key", format!("kept since {at}")),
        None => Check::warning(
            "recovery key",
            "nobody has said that it is kept; without it no backup can be read when this machine is lost",
            "print it: mainstay recovery-key show; and say so: mainstay recovery-key acknowledge",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::State::{self, Failed, Ok as Fine, Warning};
    use super::{DISK_NEEDED, DISK_WANTED, Directory, Folder, Place, Repository, Told, judge};

    fn directory(free_bytes: u64, beside_data: bool) -> Place {
        let folder = Folder { path: "/r".into(), mode: Some(0o700), writable: true, nearest: "/r".into() };
        let directory = Some(Directory { folder, free_bytes: Some(free_bytes), beside_data });
        Place { location: "/r".to_owned(), directory, copies: 0 }
    }

    fn told(text: &str) -> Option<Told> {
        Some(serde_json::from_str(text).unwrap())
    }

    /// Holds the checks against their states, and sees to it that what is not well has a remedy.
    #[track_caller]
    fn expect(place: Option<Place>, told: Option<Told>, states: &[State]) -> String {
        let checks = judge(&Repository { place, declined: false, told });
        assert_eq!(checks.iter().map(|check| check.state).collect::<Vec<_>>(), states, "{checks:?}");
        assert!(checks.iter().all(|check| check.remedy.is_some() == (check.state != Fine)), "{checks:?}");
        checks.into_iter().map(|check| check.detail).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_repository_is_there_apart_and_has_room() {
        assert!(expect(None, None, &[Warning]).contains("no backups are taken"));
        let declined = judge(&Repository { place: None, declined: true, told: None });
        assert_eq!(declined[0].state, Fine);
        expect(Some(directory(DISK_WANTED, false)), None, &[Fine, Fine, Fine]);
        assert!(expect(Some(directory(DISK_NEEDED, true)), None, &[Fine, Warning, Warning]).contains("lost with it"));
        expect(Some(directory(DISK_NEEDED - 1, false)), None, &[Fine, Failed, Fine]);
        expect(Some(Place { copies: 1, ..directory(DISK_WANTED, true) }), None, &[Fine, Fine, Fine]);
        let mut locked = directory(DISK_WANTED, false);
        locked.directory.as_mut().unwrap().folder.writable = false;
        expect(Some(locked), None, &[Failed, Fine, Fine]);
    }

    #[test]
    fn a_layer_that_runs_tells_more() {
        let remote = || Some(Place { location: "s3://b/p".to_owned(), directory: None, copies: 0 });
        assert!(expect(remote(), None, &[Fine]).contains("while the layer runs"));
        let well =
            r#"{"state":"ready","repository":{"trouble":null},"key":{"acknowledged_at":"2026-11-21T00:00:00Z"}}"#;
        expect(remote(), told(well), &[Fine, Fine]);
        let ill = r#"{"repository":{"trouble":"it refuses the key"},"key":{"acknowledged_at":null}}"#;
        assert!(expect(remote(), told(ill), &[Failed, Warning]).contains("it refuses the key"));
    }
}
