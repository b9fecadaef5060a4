//! Locations on other machines: real servers, where this machine has them.
//!
//! `MAINSTAY_TEST_GARAGE`, `MAINSTAY_TEST_RCLONE` and `MAINSTAY_TEST_SSHD` name the programs where they are not on the path.

use std::io::Write;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use mainstay_dataplane::{DataPlane, Delete, Deletion, Inventory, Owner};
use mainstay_repository::{Config, Credentials, Location, Repository, VerifyOptions};

use crate::{gives, ingest, key, noise, open};

/// How long a server may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(60);

pub struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn program(variable: &str, name: &str) -> Option<PathBuf> {
    let named = std::env::var_os(variable).map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        named.or_else(|| std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file()));
    if found.is_none() {
        eprintln!("SKIPPED: there is no {name} here; {variable} may name one");
    }
    found
}

pub fn start(command: &mut Command) -> Server {
    Server(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub async fn create(location: &Location, credentials: &Credentials) -> Repository {
    let deadline = Instant::now() + START_LIMIT;
    loop {
        match Repository::create(Config::new(location.clone(), credentials.clone()), &key()).await {
            Ok(repository) => return repository,
            Err(error) => assert!(Instant::now() < deadline, "{error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A repository lives there, and so does a copy of one.
async fn works_at(location: &str, copy: &str, credentials: Credentials) {
    let (location, copy): (Location, Location) = (location.parse().unwrap(), copy.parse().unwrap());
    let repository = create(&location, &credentials).await;
    let gone = ingest(&repository, &noise(1, 20_000_000)).await;
    ingest(&repository, &noise(2, 1_000_000)).await;
    repository.put_document("points", "a", Bytes::from_static(b"a1")).await.unwrap();
    repository.put_document("points", "a", Bytes::from_static(b"a2")).await.unwrap();
    repository.put_document("points", "b", Bytes::new()).await.unwrap();
    repository.close().await.unwrap();

    let repository = Repository::open(Config::new(location, credentials.clone()), &key()).await.unwrap();
    gives(&repository, &noise(1, 20_000_000)).await;
    assert_eq!(repository.documents("points").await.unwrap(), ["a", "b"]);
    assert_eq!(repository.document("points", "a").await.unwrap().unwrap(), "a2");
    assert!(repository.remove_document("points", "b").await.unwrap());
    assert!(repository.document("points", "b").await.unwrap().is_none());
    let request = Delete { owner: Owner::Backups, address: gone.address, claim: gone.claim };
    assert_eq!(repository.delete_object(request).await, Ok(Deletion::Deleted));
    assert!(repository.reclaim().await.unwrap() > 15_000_000);
    gives(&repository, &noise(2, 1_000_000)).await;
    let report = repository.verify(VerifyOptions::default(), |_| ()).await.unwrap();
    assert!(report.is_whole() && report.packs > 0 && report.documents == 1, "{report:#?}");
    assert_eq!(repository.backend_health().await.trouble, None);

    let directory = tempfile::tempdir().unwrap();
    let local = open(directory.path()).await;
    ingest(&local, &noise(3, 5_000_000)).await;
    local.put_document("points", "c", Bytes::from_static(b"c")).await.unwrap();
    let mirrored = local.mirror(&copy, &credentials, |_| ()).await.unwrap();
    assert_eq!(mirrored.behind.files, 0, "{mirrored:?}");
    let again = local.mirror(&copy, &credentials, |_| ()).await.unwrap();
    assert!(again.copied_files <= 1, "{again:?}");
    let copied = Repository::open(Config::new(copy, credentials), &key()).await.unwrap();
    gives(&copied, &noise(3, 5_000_000)).await;
    assert_eq!(copied.id(), local.id());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_lives_on_web_dav() {
    let Some(program) = program("MAINSTAY_TEST_RCLONE", "rclone") else { return };
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let _server = start(
        Command::new(program)
            .args(["serve", "webdav", "--user", "me", "--pass", "secret", "--addr"])
            .arg(format!("127.0.0.1:{port}"))
            .arg(directory.path()),
    );
    let credentials = Credentials::Password { user: "me".into(), password: "secret".to_owned().into() };
    let at = |path: &str| format!("webdav://127.0.0.1:{port}/{path}");
    works_at(&at("backups/one"), &at("backups/two"), credentials).await;
}

/// Tells the child process where the server's directory is: OpenSSH reads which hosts it knows from the user's own files, so that
/// the child gets an `ssh` of its own first on its path.
const SFTP: &str = "MAINSTAY_TEST_SFTP";

#[test]
fn a_repository_lives_on_sftp() {
    let Some(program) = program("MAINSTAY_TEST_SSHD", "sshd") else { return };
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let port = free_port();
    let keygen = |name: &str| {
        let made =
            Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(root.join(name)).status();
        assert!(made.unwrap().success());
        std::fs::read_to_string(root.join(name).with_extension("pub")).unwrap()
    };
    std::fs::write(root.join("known_hosts"), format!("[127.0.0.1]:{port} {}", keygen("host"))).unwrap();
    std::fs::write(root.join("authorized_keys"), keygen("client")).unwrap();
    let settings = format!(
        "ListenAddress 127.0.0.1:{port}\nHostKey {0}/host\nPidFile none\nAuthorizedKeysFile {0}/authorized_keys\n\
         StrictModes no\nUsePAM no\nPasswordAuthentication no\nSubsystem sftp internal-sftp\n",
        root.display()
    );
    std::fs::write(root.join("sshd_config"), settings).unwrap();
    // As root it wants the directory that its service would make.
    let _ = std::fs::create_dir_all("/run/sshd");
    let _server = start(Command::new(program).arg("-D").arg("-f").arg(root.join("sshd_config")));
    let bin = root.join("bin");
    std::fs::create_dir(&bin).unwrap();
    let script = format!("#!/bin/sh\nexec /usr/bin/ssh -o UserKnownHostsFile={}/known_hosts \"$@\"\n", root.display());
    std::fs::write(bin.join("ssh"), script).unwrap();
    std::fs::set_permissions(bin.join("ssh"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "remote::a_process_with_an_ssh_of_its_own", "--nocapture"])
        .env("PATH", format!("{}:{}", bin.display(), std::env::var("PATH").unwrap()))
        .env(SFTP, format!("{port} {}", root.display()))
        .status();
    assert!(child.unwrap().success());
}

/// The child.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_with_an_ssh_of_its_own() {
    let Ok(told) = std::env::var(SFTP) else { return };
    let (port, root) = told.split_once(' ').unwrap();
    let credentials = Credentials::KeyFile(format!("{root}/client").into());
    let at = |path: &str| format!("sftp://127.0.0.1:{port}{root}/{path}");
    works_at(&at("backups/one"), &at("backups/two"), credentials).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_lives_on_s3() {
    use std::os::unix::fs::OpenOptionsExt;
    const ACCESS_KEY: &str = "GK0123456789abcdef01234567";
    const SECRET_KEY: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let Some(program) = program("MAINSTAY_TEST_GARAGE", "garage") else { return };
    let directory = tempfile::tempdir().unwrap();
    let (port, rpc) = (free_port(), free_port());
    let file = directory.path().join("garage.toml");
    let root = directory.path().display();
    let text = format!(
        "metadata_dir = \"{root}/meta\"\ndata_dir = \"{root}/data\"\ndb_engine = \"lmdb\"\nreplication_factor = 1\nrpc_bind_addr = \
         \"127.0.0.1:{rpc}\"\nrpc_secret = \"{SECRET_KEY}\"\n[s3_api]\ns3_region = \"garage\"\napi_bind_addr = \"127.0.0.1:{port}\"\n"
    );
    let mut opened = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file).unwrap();
    opened.write_all(text.as_bytes()).unwrap();
    let _server = start(
        Command::new(program)
            .env("GARAGE_DEFAULT_ACCESS_KEY", ACCESS_KEY)
            .env("GARAGE_DEFAULT_SECRET_KEY", SECRET_KEY)
            .env("GARAGE_DEFAULT_BUCKET", "backups")
            .arg("-c")
            .arg(&file)
            .args(["server", "--single-node", "--default-bucket"]),
    );
    let credentials = Credentials::AccessKey { id: ACCESS_KEY.into(), secret: SECRET_KEY.to_owned().into() };
    let at = |path: &str| format!("s3://backups/{path}?endpoint=http://127.0.0.1:{port}&region=garage");
    works_at(&at("one"), &at("two"), credentials).await;
}
