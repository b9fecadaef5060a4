//! A PostgreSQL server of a test's own: made in a temporary directory, gone with the value or the test's process.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use secrecy::SecretString;
use tempfile::TempDir;

/// How long a server may take to start, on a machine that runs other tests too.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// How often a start is tried on another port, since a free port may be taken before the server binds it.
const PORT_TRIES: usize = 5;

/// Runs the server until its standard input ends, which is when the test's process ends, however it does.
const UNTIL_INPUT_ENDS: &str = r#""$@" & server=$!; read -r _; kill -INT $server 2>/dev/null; wait $server"#;

/// A running PostgreSQL server that listens on loopback and in its own directory, and trusts who can reach it.
pub struct ScratchPostgres {
    directory: TempDir,
    binaries: PathBuf,
    account: Option<Account>,
    port: u16,
    server: Option<Child>,
    databases: AtomicUsize,
}

/// Whom the server runs as where the test is root, which PostgreSQL refuses to be.
#[derive(Clone, Copy)]
struct Account {
    user: u32,
    group: u32,
}

impl ScratchPostgres {
    /// Makes a server and waits until it answers. Panics, with the remedy, where PostgreSQL is not installed.
    pub fn start() -> Self {
        let account = rustix::process::getuid().is_root().then(postgres_account);
        let directory = tempfile::Builder::new().prefix("scratch-postgres-").tempdir().expect("a temporary directory");
        if let Some(account) = account {
            std::os::unix::fs::chown(directory.path(), Some(account.user), Some(account.group))
                .expect("root can give its directory away");
        }
        let mut scratch =
            Self { directory, binaries: binaries(), account, port: 0, server: None, databases: AtomicUsize::new(0) };
        let data = scratch.data();
        let initialised = scratch
            .command(&scratch.binaries.join("initdb"))
            .args(["--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C.UTF-8", "-D"])
            .arg(&data)
            .output()
            .expect("initdb can be run");
        assert!(initialised.status.success(), "initdb: {}", String::from_utf8_lossy(&initialised.stderr));
        scratch.restart();
        scratch
    }

    /// The URI of the database `postgres`.
    pub fn uri(&self) -> SecretString {
        self.uri_of("postgres")
    }

    /// Makes an empty database and gives its URI.
    pub fn new_database(&self) -> SecretString {
        let name = format!("scratch_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.psql("postgres", &format!("CREATE DATABASE {name}"));
        self.uri_of(&name)
    }

    /// Runs SQL in a database through `psql` and gives what it prints, unaligned and without headers.
    pub fn psql(&self, database: &str, sql: &str) -> String {
        let output = self.psql_command(database).args(["-c", sql]).output().expect("psql can be run");
        assert!(output.status.success(), "psql: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("psql prints UTF-8").trim_end().to_owned()
    }

    /// Runs a file of SQL in a database, for example a dump.
    pub fn psql_file(&self, database: &str, file: &Path) {
        let output =
            self.psql_command(database).stdin(std::fs::File::open(file).expect("the file can be read")).output();
        let output = output.expect("psql can be run");
        assert!(output.status.success(), "psql: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// A database as SQL that [`ScratchPostgres::psql_file`] makes it from again.
    pub fn dump(&self, database: &str) -> String {
        let mut command = self.command(&self.binaries.join("pg_dump"));
        command.args(["--no-owner", "--no-privileges", "-U", "postgres", "-h"]).arg(self.directory.path());
        let output = command.args(["-p", &self.port.to_string(), database]).output().expect("pg_dump can be run");
        assert!(output.status.success(), "pg_dump: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).expect("pg_dump prints UTF-8");
        // Newer releases of psql alone know these two commands, and their key is another one each time.
        let portable = |line: &&str| !line.starts_with("\\restrict ") && !line.starts_with("\\unrestrict ");
        text.lines().filter(portable).map(|line| format!("{line}\n")).collect()
    }

    /// Kills the postmaster with signal 9 and waits until all its processes are gone.
    pub fn kill(&mut self) {
        let postmaster = self.postmaster().expect("the server runs");
        kill_process(postmaster, Signal::KILL).expect("the server belongs to the test");
        self.finish();
    }

    /// Starts the server, on the same port as before where there was one.
    pub fn restart(&mut self) {
        self.finish();
        for _ in 0..PORT_TRIES {
            if self.server_answers() {
                return;
            }
            self.finish();
            self.port = 0;
        }
        panic!("the scratch server does not start: {}", std::fs::read_to_string(self.log()).unwrap_or_default());
    }

    fn server_answers(&mut self) -> bool {
        if self.port == 0 {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
            self.port = listener.local_addr().expect("a bound socket has an address").port();
        }
        let log = std::fs::File::create(self.log()).expect("the directory is writable");
        // Without fsync, since tests kill the server, and never the machine beneath it.
        let server = self
            .command(Path::new("/bin/sh"))
            .args(["-c", UNTIL_INPUT_ENDS, "sh"])
            .arg(self.binaries.join("postgres"))
            .args(["-p", &self.port.to_string(), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-k"])
            .arg(self.directory.path())
            .arg("-D")
            .arg(self.data())
            .stdin(Stdio::piped())
            .stdout(log.try_clone().expect("a file handle can be cloned"))
            .stderr(log)
            .spawn()
            .expect("a shell can be run");
        self.server = Some(server);
        let deadline = Instant::now() + START_DEADLINE;
        while Instant::now() < deadline {
            // psql waits for the socket itself no longer than its own connection timeout.
            let asked = self.psql_command("postgres").args(["-c", "SELECT 1"]).output().expect("psql can be run");
            if asked.status.success() {
                return true;
            }
            if std::fs::read_to_string(self.log()).is_ok_and(|log| log.contains("FATAL:  could not create")) {
                return false;
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        false
    }

    /// Ends the shell and with it the server, and waits until the server's directory is its own no more.
    fn finish(&mut self) {
        if let Some(mut server) = self.server.take() {
            drop(server.stdin.take());
            let _ = server.wait();
        }
        let deadline = Instant::now() + START_DEADLINE;
        // Children of a killed postmaster end by themselves, and hold its shared memory until then.
        while self.connections_left() && Instant::now() < deadline {
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    fn connections_left(&self) -> bool {
        let Ok(processes) = std::fs::read_dir("/proc") else { return false };
        let data = self.data();
        processes.flatten().any(|process| std::fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd == data))
    }

    fn postmaster(&self) -> Option<Pid> {
        let file = std::fs::read_to_string(self.data().join("postmaster.pid")).ok()?;
        Pid::from_raw(file.lines().next()?.trim().parse().ok()?)
    }

    fn psql_command(&self, database: &str) -> Command {
        let mut command = self.command(&self.binaries.join("psql"));
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database, "-h"]);
        command.arg(self.directory.path()).args(["-p", &self.port.to_string()]);
        command
    }

    /// A command with the server's account and an environment that says nothing about other servers.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.directory.path()).env_clear().env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
        if let Some(account) = self.account {
            command.uid(account.user).gid(account.group);
        }
        command
    }

    fn uri_of(&self, database: &str) -> SecretString {
        format!("postgresql://postgres@127.0.0.1:{}/{database}?sslmode=disable", self.port).into()
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("log")
    }
}

impl Drop for ScratchPostgres {
    fn drop(&mut self) {
        self.finish();
    }
}

/// The newest PostgreSQL that the distribution's packages have installed, or the one in the path.
fn binaries() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let installed = versions.filter(|version| version.path().join("bin/initdb").exists());
    let newest = installed.max_by_key(|version| version.file_name().to_string_lossy().parse::<u32>().unwrap_or(0));
    if let Some(version) = newest {
        return version.path().join("bin");
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .find(|directory| directory.join("initdb").exists())
        .expect("PostgreSQL is not installed; install the package postgresql")
}

fn postgres_account() -> Account {
    let accounts = match std::fs::read_to_string("/etc/passwd") {
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        result => result.expect("/etc/passwd can be read"),
    };
    let line = accounts.lines().find(|line| line.starts_with("postgres:"));
    let mut fields = line.expect("there is no user postgres; install the package postgresql").split(':').skip(2);
    let mut number = || fields.next().and_then(|field| field.parse().ok()).expect("an account has numbers");
    Account { user: number(), group: number() }
}
