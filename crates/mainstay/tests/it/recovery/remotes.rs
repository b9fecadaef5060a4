//! A layer whose repository and its copy lie on other machines: backed up, mirrored, verified, and recovered after everything is lost.

use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::json;

use super::{backed_up, key_file, lose, standing};
use crate::harness::{Layer, Options, kill_process, until, uri_of};

const PATIENCE: Duration = Duration::from_secs(120);

/// A server, until it is dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Server {
    fn start(command: &mut Command, port: u16) -> Self {
        let server = Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        until("the server listens", PATIENCE, || TcpStream::connect(("127.0.0.1", port)).ok());
        server
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A program that CI insists on, and that others may lack.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file());
    if found.is_none() {
        eprintln!("SKIPPED: there is no {name} here; scripts/setup test installs it");
    }
    found
}

/// Everything that recovery is for, with a repository and a copy of it there. The machine is recovered from `source`.
fn lives_there(repository: &str, copy: &str, source: &str, mut environment: Vec<(&'static str, String)>) -> Layer {
    environment.push(("Recovery__Repository", repository.to_owned()));
    environment.push(("Recovery__Copies", copy.to_owned()));
    let mut layer = Layer::start(Options { environment, ..Options::default() });
    layer.create("shop");
    let uri = uri_of(&layer.bind("shop", "web"));
    layer.psql(&uri, "CREATE TABLE t AS SELECT generate_series(1, 20000) AS a");
    layer.cli(&["backup", "shop"]).succeed();
    layer.psql(&uri, "INSERT INTO t VALUES (0)");
    let written =
        layer.psql(&uri, r#"SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"#);
    until("the log is there", PATIENCE, || {
        let recovery = layer.api().get("/api/v1/instances/shop/recovery").expect(200);
        (recovery["window"]["latest"].as_str()? >= written.as_str()).then_some(())
    });
    layer.cli(&["restore", "shop", "--at", &written, "--to", "other"]).succeed();
    let other = uri_of(&layer.bind("other", "web"));
    assert_eq!(layer.psql(&other, "SELECT count(*) FROM t"), "20001");
    layer.cli(&["drill", "shop"]).succeed();
    let key = key_file(&layer);
    backed_up(&layer);
    assert_eq!(layer.cli(&["repository", "verify"]).code, 0);
    until("the copy has everything", PATIENCE, || {
        let standing = standing(&layer);
        let copy = &standing["copies"][0];
        assert!(copy["trouble"].is_null(), "{standing}");
        let mirrored = copy["mirrored_at"].as_str()?;
        (mirrored > standing["layer_backup"]["taken_at"].as_str()?).then_some(())
    });

    let postmaster = layer.postmaster("postgresql-shared");
    layer.kill();
    kill_process(postmaster);
    lose(&layer);
    let to = layer.data_dir();
    let recovered = layer.cli(&[
        "recover",
        "--repository",
        source,
        "--to",
        to.to_str().unwrap(),
        "--recovery-key-file",
        key.to_str().unwrap(),
    ]);
    assert_eq!(recovered.code, 0, "{recovered:?}");
    assert!(recovered.stdout.contains("shop"), "{recovered:?}");
    if source == repository {
        layer.restart();
        let count =
            |uri: &str| until("it serves as before", PATIENCE, || layer.try_psql(uri, "SELECT count(*) FROM t").ok());
        assert_eq!((count(&uri), count(&other)), ("20001".to_owned(), "20001".to_owned()));
        backed_up(&layer);
    }
    layer
}

#[test]
fn a_repository_on_web_dav() {
    let Some(rclone) = program("rclone") else { return };
    let (directory, port) = (tempfile::tempdir().unwrap(), free_port());
    let mut command = Command::new(rclone);
    command
        .args(["serve", "webdav", "--user", "me", "--pass", "correct-horse", "--addr"])
        .arg(format!("127.0.0.1:{port}"));
    let _server = Server::start(command.arg(directory.path()), port);
    let at = |path: &str| format!("webdav://127.0.0.1:{port}/{path}");
    let login =
        |password: &str| vec![("Recovery__Username", "me".to_owned()), ("Recovery__Password", password.to_owned())];
    refuses(&at("backups"), login("wrong-horse"), "refuses access");
    let repository = at("backups/main");
    lives_there(&repository, &at("backups/copy"), &repository, login("correct-horse"));
}

#[test]
fn a_repository_on_the_s3_api_of_another_layer() {
    let store = Layer::start(Options::default());
    store.create_bucket("backups", json!({}));
    let bound = store.bind("backups", "layer");
    let text = |key: &str| bound["credentials"][key].as_str().unwrap().to_owned();
    let (bucket, endpoint, region) = (text("bucket"), text("endpoint"), text("region"));
    let at = |path: &str| format!("s3://{bucket}/{path}?endpoint={endpoint}&region={region}");
    let keys =
        |secret: String| vec![("Recovery__AccessKeyId", text("access-key-id")), ("Recovery__SecretAccessKey", secret)];
    refuses(&at("main"), keys("0".repeat(40)), "refuses access");
    lives_there(&at("main"), &at("copy"), &at("main"), keys(text("secret-access-key")));
}

#[test]
fn a_repository_on_sftp_and_a_recovery_from_its_copy() {
    let Some(sshd) = program("sshd") else { return };
    let (directory, port) = (tempfile::tempdir().unwrap(), free_port());
    let root = directory.path();
    let _server = ssh_server(&sshd, root, port);
    let at = |path: &str| format!("sftp://127.0.0.1:{port}{}/{path}", root.display());
    let with_key = |key: &str| {
        // OpenSSH reads which hosts are known from files of the user whom the system knows.
        let path = format!("{}:{}", root.join("bin").display(), std::env::var("PATH").unwrap());
        vec![("Recovery__SshKeyFile", root.join(key).to_str().unwrap().to_owned()), ("PATH", path)]
    };
    refuses(&at("main"), with_key("host"), "refuses access");
    lives_there(&at("main"), &at("copy"), &at("copy"), with_key("client"));
}

/// A layer that may not use its repository says so, and serves.
fn refuses(repository: &str, mut environment: Vec<(&'static str, String)>, word: &str) {
    environment.push(("Recovery__Repository", repository.to_owned()));
    let layer = Layer::start(Options { environment, ..Options::default() });
    let trouble = until("it says that it is refused", PATIENCE, || {
        let trouble = standing(&layer)["repository"]["trouble"].as_str()?.to_owned();
        Some(trouble)
    });
    assert!(trouble.contains(word), "{trouble}");
    assert_eq!(layer.cli(&["repository", "status"]).code, 1);
}

fn ssh_server(sshd: &Path, root: &Path, port: u16) -> Server {
    let key = |name: &str| {
        let made =
            Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(root.join(name)).status();
        assert!(made.unwrap().success());
        std::fs::read_to_string(root.join(name).with_extension("pub")).unwrap()
    };
    let here = root.display();
    std::fs::write(root.join("known_hosts"), format!("[127.0.0.1]:{port} {}", key("host"))).unwrap();
    std::fs::write(root.join("authorized_keys"), key("client")).unwrap();
    let settings = format!(
        "ListenAddress 127.0.0.1:{port}\nHostKey {here}/host\nPidFile none\nAuthorizedKeysFile {here}/authorized_keys\nStrictModes \
         no\nUsePAM no\nPasswordAuthentication no\nSubsystem sftp internal-sftp\n"
    );
    std::fs::write(root.join("sshd_config"), settings).unwrap();
    std::fs::create_dir(root.join("bin")).unwrap();
    let script = format!("#!/bin/sh\nexec /usr/bin/ssh -o UserKnownHostsFile={here}/known_hosts \"$@\"\n");
    std::fs::write(root.join("bin/ssh"), script).unwrap();
    std::fs::set_permissions(root.join("bin/ssh"), PermissionsExt::from_mode(0o755)).unwrap();
    // As root it wants the directory that its service would make.
    let _ = std::fs::create_dir_all("/run/sshd");
    Server::start(Command::new(sshd).arg("-D").arg("-f").arg(root.join("sshd_config")), port)
}
