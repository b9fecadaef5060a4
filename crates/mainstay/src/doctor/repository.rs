//! Whether backups have a place, one that is not lost with the data, and whether somebody keeps the key to them.

use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use mainstay_repository::Location;
use serde::Deserialize;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

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
    pub told: Option<Result<Told, Unproven>>,
}

/// Who answers at the layer's address did not prove to be the layer, and was not asked.
#[derive(Debug)]
pub(super) struct Unproven {
    reason: String,
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
        let (listen, token) = (&config.listen, config.data_dir.join("admin.token"));
        let certificate = listen.tls.as_ref().map(|files| &*files.certificate);
        // The token goes to this machine alone.
        let told = listen.api.ip().is_loopback().then(|| ask(&listen.url(), certificate, &token)).flatten();
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
///
/// With TLS it is asked where it proves to have a certificate of those that it was given; without, whoever listens is believed, as by
/// every other command.
fn ask(url: &str, certificate: Option<&Path>, token_file: &Path) -> Option<Result<Told, Unproven>> {
    if token_file.metadata().ok()?.len() > LONGEST_TOKEN {
        return None;
    }
    let token = zeroize::Zeroizing::new(std::fs::read_to_string(token_file).ok()?);
    let bearer = zeroize::Zeroizing::new(format!("Bearer {}", token.trim()));
    let unproven = |error: &dyn std::fmt::Display| Some(Err(Unproven { reason: error.to_string() }));
    let tls = match certificate.map(trusting).transpose() {
        Ok(tls) => tls.unwrap_or_default(),
        Err(error) => return unproven(&error),
    };
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(ANSWER_TIMEOUT))
        .proxy(None)
        // A redirect would carry the token to where nobody meant it to go.
        .max_redirects(0)
        .tls_config(tls);
    let request = config.build().new_agent().get(format!("{url}/api/v1/recovery"));
    match request.header("authorization", &*bearer).call() {
        Ok(mut answer) => answer.body_mut().read_json().ok().map(Ok),
        Err(ureq::Error::Rustls(error)) => unproven(&error),
        Err(ureq::Error::Io(error)) if error.kind() == ErrorKind::InvalidData => unproven(&error),
        Err(_) => None,
    }
}

/// Trusts the certificates in a file, and no others.
fn trusting(file: &Path) -> io::Result<TlsConfig> {
    let pem = std::fs::read(file)?;
    let certificate = |item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(Ok(certificate)),
        Ok(_) => None,
        Err(error) => Some(Err(io::Error::other(error))),
    };
    let certificates = parse_pem(&pem).filter_map(certificate).collect::<io::Result<Vec<_>>>()?;
    Ok(TlsConfig::builder().root_certs(RootCerts::new_with_certs(&certificates)).build())
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
    let told = found.told.as_ref().and_then(|told| told.as_ref().ok());
    let mut checks = vec![reach(place, told)];
    if let Some(directory) = &place.directory {
        checks.push(room(directory));
        checks.push(apart(directory, place.copies));
    }
    match &found.told {
        Some(Ok(told)) => checks.push(key(told)),
        Some(Err(Unproven { reason })) => checks.push(Check::warning(
            "recovery key",
            format!("the layer was not asked, and no token was sent: who answers at its address did not prove to be it: {reason}"),
            "see who listens there; or give Listen:TlsCertificate a certificate that is good for that address, with its chain",
        )),
        None => {}
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
    use std::net::SocketAddr;
    use std::path::Path;

    use mainstay_authority::Authority;
    use mainstay_engine::IssuedCertificate;
    use secrecy::ExposeSecret;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::task::JoinHandle;

    use super::super::State::{self, Failed, Ok as Fine, Warning};
    use super::{DISK_NEEDED, DISK_WANTED, Directory, Folder, Place, Repository, Told, ask, judge};
    use crate::config::TlsFiles;
    use crate::layer::tls::acceptor;

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
        let checks = judge(&Repository { place, declined: false, told: told.map(Ok) });
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

    /// Answers one request over TLS with a certificate for this address; tells what it was sent.
    async fn answering(certificate: &IssuedCertificate, place: &Path) -> (SocketAddr, JoinHandle<String>) {
        let files = TlsFiles { certificate: place.join("server.pem"), key: place.join("server.key") };
        std::fs::write(&files.certificate, &certificate.certificate).unwrap();
        std::fs::write(&files.key, certificate.key.expose_secret()).unwrap();
        let (tls, listener) = (acceptor(&files).unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let address = listener.local_addr().unwrap();
        let sent = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = tls.accept(stream).await else { return String::new() };
            let mut request = [0; 4_096];
            let length = stream.read(&mut request).await.unwrap_or_default();
            let body = r#"{"repository":null,"key":{"acknowledged_at":null}}"#;
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        (address, sent)
    }

    #[tokio::test]
    async fn the_token_goes_to_who_proves_to_be_the_layer() {
        let place = tempfile::tempdir().unwrap();
        let token = place.path().join("admin.token");
        std::fs::write(&token, "canary").unwrap();
        let issue =
            |authority: &Authority| authority.issue(&"layer".parse().unwrap(), "127.0.0.1".parse().unwrap()).unwrap();
        let (own, stranger) = (Authority::generate().unwrap(), Authority::generate().unwrap());
        for (served, is_layer) in [(issue(&own), true), (issue(&stranger), false)] {
            let configured = place.path().join("configured.pem");
            std::fs::write(&configured, issue(&own).certificate + own.certificate()).unwrap();
            let (api, sent) = answering(&served, place.path()).await;
            let (url, token) = (format!("https://{api}"), token.clone());
            let told = tokio::task::spawn_blocking(move || ask(&url, Some(&configured), &token)).await.unwrap();
            let sent = sent.await.unwrap();
            assert_eq!(sent.contains("canary"), is_layer, "{sent}");
            assert_eq!(told.as_ref().map(Result::is_ok), Some(is_layer), "{told:?}");
            let place = Some(Place { location: "s3://b/p".to_owned(), directory: None, copies: 0 });
            let checks = judge(&Repository { place, declined: false, told });
            assert_eq!(checks.iter().any(|check| check.detail.contains("no token was sent")), !is_layer, "{checks:?}");
        }
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
