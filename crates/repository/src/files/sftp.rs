//! Files on an SFTP server, through one OpenSSH client that ends with this process.
//!
//! OpenDAL's service would run a client in the background for each connection, which outlives a process that is killed, and it does not
//! ask the server to make anything durable. The protocol is `openssh-sftp-client`'s in both cases.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use mainstay_types::Timestamp;
use opendal::{Error, ErrorKind, Result};
use openssh_sftp_client::error::SftpErrorKind;
use openssh_sftp_client::file::TokioCompatFile;
use openssh_sftp_client::fs::Fs;
use openssh_sftp_client::{Error as SftpError, Sftp, SftpOptions};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt, SeekFrom};
use tokio::process::{Child, Command};

use super::Listed;
use super::remote::PATIENCE;

/// How long a server may take to let somebody in.
const LOGIN_PATIENCE: Duration = Duration::from_secs(20);

/// How long the client's last words are waited for once it has ended, and how many bytes of them are read.
const LAST_WORDS_PATIENCE: Duration = Duration::from_secs(2);
const LAST_WORDS: u64 = 2048;

/// Bytes that are asked for at a time: what servers give at most.
const READ_LEN: u32 = 255 << 10;

/// How the client is run: nobody is asked anything, a host whose key it does not know is refused, a line that is dead is found out, and no
/// connection is shared with others or left behind.
const OPTIONS: [&str; 8] = [
    "BatchMode=yes",
    "StrictHostKeyChecking=yes",
    "ConnectTimeout=10",
    "ServerAliveInterval=15",
    "ServerAliveCountMax=2",
    "ControlMaster=no",
    "ControlPath=none",
    "LogLevel=ERROR",
];

/// A server, and the connection to it while there is one. Clones share that.
#[derive(Clone)]
pub(crate) struct SftpServer(Arc<Server>);

struct Server {
    user: Option<String>,
    host: String,
    port: u16,
    key: Option<PathBuf>,
    /// Of all files.
    root: PathBuf,
    session: Mutex<Option<Arc<Session>>>,
    /// Held by whoever connects.
    connecting: tokio::sync::Mutex<()>,
}

struct Session {
    sftp: Sftp,
    /// Killed when this is dropped.
    _client: Child,
}

/// A session for one request. One that did not come to its end leaves the next request a new session.
struct Lease<'a> {
    server: &'a Server,
    session: Arc<Session>,
    returned: bool,
}

// === impl SftpServer ===

impl SftpServer {
    pub(super) fn new(user: Option<String>, host: &str, port: u16, key: Option<PathBuf>, root: &str) -> Self {
        Self(Arc::new(Server {
            user,
            // As URLs have addresses of IPv6.
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port,
            key,
            root: root.into(),
            session: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
        }))
    }

    pub(super) async fn read(&self, path: &str, range: Option<Range<u64>>) -> Result<Option<Vec<u8>>> {
        let lease = self.0.lease().await?;
        let found = read(&lease.session.sftp, &self.0.root.join(path), range).await;
        lease.end(found)
    }

    /// Writes a file beside, makes it durable, and gives it its name.
    pub(super) async fn write(&self, unfinished: &str, path: &str, bytes: &Bytes) -> Result<()> {
        let lease = self.0.lease().await?;
        let sftp = &lease.session.sftp;
        let (beside, path) = (self.0.root.join(unfinished), self.0.root.join(path));
        let written = async {
            write(sftp, &beside, bytes).await?;
            rename(sftp, &beside, &path).await
        };
        let mut written = written.await;
        if let Err(SftpError::SftpError(SftpErrorKind::Failure, _)) = &written
            && is_full(&mut sftp.fs(), &self.0.root, bytes.len() as u64).await
        {
            written = Err(std::io::Error::from(rustix::io::Errno::NOSPC).into());
        }
        lease.end(written)
    }

    pub(super) async fn remove(&self, path: &str) -> Result<()> {
        let lease = self.0.lease().await?;
        let removed = lease.session.sftp.fs().remove_file(self.0.root.join(path)).await;
        lease.end(removed.or_else(|error| if is_absent(&error) { Ok(()) } else { Err(error) }))
    }

    /// The files in a folder, and the folders, whose names end in a slash. The folder's name ends in one, or is empty.
    pub(super) async fn list(&self, folder: &str) -> Result<Vec<Listed>> {
        let lease = self.0.lease().await?;
        let listed = list(&mut lease.session.sftp.fs(), &self.0.root.join(folder), folder, PATIENCE).await;
        lease.end(listed)
    }
}

// === impl Server ===

impl Server {
    fn session(&self) -> std::sync::MutexGuard<'_, Option<Arc<Session>>> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn lease(&self) -> Result<Lease<'_>> {
        let _connecting = self.connecting.lock().await;
        let open = self.session().clone();
        let session = match open {
            Some(session) => session,
            None => {
                let session = Arc::new(self.connect().await?);
                *self.session() = Some(Arc::clone(&session));
                session
            }
        };
        Ok(Lease { server: self, session, returned: false })
    }

    async fn connect(&self) -> Result<Session> {
        let mut command = Command::new("ssh");
        for option in OPTIONS {
            command.args(["-o", option]);
        }
        if let Some(key) = &self.key {
            command.args(["-o", "IdentitiesOnly=yes", "-i"]).arg(key);
        }
        if let Some(user) = &self.user {
            command.args(["-l", user]);
        }
        command.args(["-p", &self.port.to_string(), "-s", "--", &self.host, "sftp"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut client = command.spawn().map_err(|error| {
            Error::new(ErrorKind::Unexpected, "OpenSSH's client, ssh, cannot be run; install it").set_source(error)
        })?;
        let piped = "all three are piped";
        let (stdin, stdout) = (client.stdin.take().expect(piped), client.stdout.take().expect(piped));
        let mut stderr = client.stderr.take().expect(piped).take(LAST_WORDS);
        match tokio::time::timeout(LOGIN_PATIENCE, Sftp::new(stdin, stdout, SftpOptions::new())).await {
            Ok(Ok(sftp)) => Ok(Session { sftp, _client: client }),
            Ok(Err(_)) => {
                let mut words = Vec::new();
                // Without them it is said that it did not work.
                let _ = tokio::time::timeout(LAST_WORDS_PATIENCE, stderr.read_to_end(&mut words)).await;
                let words = String::from_utf8_lossy(&words);
                let words = words.lines().last().map_or("it ended", str::trim);
                Err(Error::new(ErrorKind::Unexpected, format!("ssh does not get to the server: {words}"))
                    .set_temporary())
            }
            Err(_) => {
                let reason = format!("the SSH server lets nobody in within {} s", LOGIN_PATIENCE.as_secs());
                Err(Error::new(ErrorKind::Unexpected, reason).set_temporary())
            }
        }
    }
}

// === impl Lease ===

impl Lease<'_> {
    /// What came of the request. The session is of use still where the server answered.
    fn end<T>(mut self, outcome: std::result::Result<T, SftpError>) -> Result<T> {
        self.returned = matches!(outcome, Ok(_) | Err(SftpError::SftpError(..)));
        outcome.map_err(|error| {
            let kind = match &error {
                SftpError::SftpError(SftpErrorKind::NoSuchFile, _) => ErrorKind::NotFound,
                SftpError::SftpError(SftpErrorKind::PermDenied, _) => ErrorKind::PermissionDenied,
                _ => ErrorKind::Unexpected,
            };
            let failed = Error::new(kind, "the SFTP server did not do it").set_source(error);
            if self.returned { failed } else { failed.set_temporary() }
        })
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let mut session = self.server.session();
        if !self.returned && session.as_ref().is_some_and(|open| Arc::ptr_eq(open, &self.session)) {
            *session = None;
        }
    }
}

async fn read(sftp: &Sftp, path: &Path, range: Option<Range<u64>>) -> std::result::Result<Option<Vec<u8>>, SftpError> {
    let mut file = match sftp.open(path).await {
        Err(error) if is_absent(&error) => return Ok(None),
        file => file?,
    };
    let (mut at, end) = range.map_or((0, u64::MAX), |range| (range.start, range.end));
    let mut found = Vec::new();
    while at < end {
        // By itself the file goes on after what was asked for, though less may have come.
        file.seek(SeekFrom::Start(at)).await?;
        let wanted = u32::try_from(end - at).map_or(READ_LEN, |left| left.min(READ_LEN));
        let Some(bytes) = file.read(wanted, BytesMut::new()).await? else { break };
        at += bytes.len() as u64;
        found.extend_from_slice(&bytes);
    }
    file.close().await?;
    Ok(Some(found))
}

async fn write(sftp: &Sftp, path: &Path, bytes: &[u8]) -> std::result::Result<(), SftpError> {
    let file = match sftp.create(path).await {
        Err(error) if is_absent(&error) => {
            make_folders(&mut sftp.fs(), path).await;
            sftp.create(path).await?
        }
        file => file?,
    };
    let mut file = Box::pin(TokioCompatFile::new(file));
    file.write_all(bytes).await?;
    file.flush().await?;
    if sftp.support_fsync() {
        file.as_mut().as_mut_file().sync_all().await?;
    }
    file.shutdown().await?;
    Ok(())
}

async fn rename(sftp: &Sftp, from: &Path, to: &Path) -> std::result::Result<(), SftpError> {
    let mut fs = sftp.fs();
    if !sftp.support_posix_rename() {
        // It replaces nothing by itself. Nothing but small documents is ever replaced.
        match fs.remove_file(to).await {
            Err(error) if !is_absent(&error) => return Err(error),
            _ => {}
        }
    }
    match fs.rename(from, to).await {
        Err(SftpError::SftpError(..)) => {
            make_folders(&mut fs, to).await;
            fs.rename(from, to).await
        }
        renamed => renamed,
    }
}

/// Makes the folders above a file. Whether they are there then is seen when they are used.
async fn make_folders(fs: &mut Fs, path: &Path) {
    let mut above: Vec<&Path> = path.ancestors().skip(1).collect();
    above.pop();
    for folder in above.into_iter().rev() {
        let _ = fs.create_dir(folder).await;
    }
}

/// Each request is waited for by itself: the names of a large folder come in many batches.
async fn list(
    fs: &mut Fs,
    place: &Path,
    folder: &str,
    patience: Duration,
) -> std::result::Result<Vec<Listed>, SftpError> {
    let folder_here = match in_time(fs.open_dir(place), patience).await {
        Err(error) if is_absent(&error) => return Ok(Vec::new()),
        found => found?,
    };
    let mut entries = Box::pin(folder_here.read_dir());
    let mut listed = Vec::new();
    while let Some(entry) = in_time(entries.try_next(), patience).await? {
        let Some(name) = entry.filename().to_str().filter(|name| !matches!(*name, "." | "..")) else { continue };
        let metadata = entry.metadata();
        let is_folder = entry.file_type().is_some_and(|kind| kind.is_dir());
        let modified =
            metadata.modified().and_then(|at| at.as_system_time().duration_since(std::time::UNIX_EPOCH).ok());
        listed.push(Listed {
            path: format!("{folder}{name}{}", if is_folder { "/" } else { "" }),
            len: metadata.len().unwrap_or(0),
            modified: modified.map(|since| Timestamp::from_micros(since.as_micros() as i64)),
        });
    }
    Ok(listed)
}

async fn in_time<T>(
    request: impl Future<Output = std::result::Result<T, SftpError>>,
    patience: Duration,
) -> std::result::Result<T, SftpError> {
    let unanswered = || std::io::Error::new(std::io::ErrorKind::TimedOut, format!("no answer within {patience:?}"));
    tokio::time::timeout(patience, request).await.unwrap_or_else(|_| Err(unanswered().into()))
}

/// Servers say no more than that it did not work.
async fn is_full(fs: &mut Fs, root: &Path, len: u64) -> bool {
    fs.statvfs(root).await.is_ok_and(|found| found.bavail.saturating_mul(found.frsize) < len)
}

fn is_absent(error: &SftpError) -> bool {
    matches!(error, SftpError::SftpError(SftpErrorKind::NoSuchFile, _))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Stdio;
    use std::time::{Duration, Instant};

    use openssh_sftp_client::{Sftp, SftpOptions};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::process::Command;

    use super::list;

    /// Debian's and Fedora's; without either there is nobody to ask.
    const SERVERS: [&str; 2] = ["/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server"];
    /// How long each answer is on its way.
    const DELAY: Duration = Duration::from_millis(60);
    const PATIENCE: Duration = Duration::from_secs(2);
    /// So many that their names take longer than that, a hundred in an answer.
    const FILES: usize = 6000;

    #[tokio::test]
    async fn a_large_folder_may_take_longer_than_an_answer() {
        let Some(server) = SERVERS.iter().find(|server| Path::new(server).exists()) else { return };
        let directory = tempfile::tempdir().unwrap();
        for file in 0..FILES {
            std::fs::write(directory.path().join(file.to_string()), "").unwrap();
        }
        let mut command = Command::new(server);
        let mut server = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let (input, mut output) = (server.stdin.take().unwrap(), server.stdout.take().unwrap());
        let (mut line, end) = tokio::io::duplex(64 << 10);
        tokio::spawn(async move {
            let mut answer = vec![0; 64 << 10];
            while let Ok(len @ 1..) = output.read(&mut answer).await {
                tokio::time::sleep(DELAY).await;
                if line.write_all(&answer[..len]).await.is_err() {
                    return;
                }
            }
        });
        let sftp = Sftp::new(input, end, SftpOptions::new()).await.unwrap();
        let begun = Instant::now();
        let listed = list(&mut sftp.fs(), directory.path(), "packs/", PATIENCE).await.unwrap();
        assert_eq!(listed.len(), FILES);
        assert!(begun.elapsed() > PATIENCE, "it was no slow line: {:?}", begun.elapsed());
        assert!(
            list(&mut sftp.fs(), directory.path(), "packs/", DELAY / 4).await.is_err(),
            "each answer is waited for"
        );
    }
}
