//! A Garage on one node, as the store beneath a layer.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::request::fetch;
use super::stock::program;
use crate::harness::until;

const BUCKET: &str = "content";
const REGION: &str = "garage";
const ACCESS_KEY: &str = "GK0123456789abcdef01234567";
const SECRET_KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
/// It is ready in a tenth of a second; a busy machine may take its time.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Garage {
    directory: TempDir,
    endpoint: String,
    admin: u16,
    process: Option<Child>,
}

impl Garage {
    /// Starts one, where Garage is installed.
    pub fn start() -> Option<Self> {
        program("garage")?;
        let directory = tempfile::tempdir().unwrap();
        let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [s3, rpc, admin] = listeners.map(|listener| listener.local_addr().unwrap().port());
        let path = directory.path().display();
        let config = format!(
            "metadata_dir = \"{path}/meta\"\ndata_dir = \"{path}/data\"\ndb_engine = \"lmdb\"\nreplication_factor = 1\n\
             rpc_bind_addr = \"127.0.0.1:{rpc}\"\nrpc_secret = \"{SECRET_KEY}\"\n[s3_api]\ns3_region = \"{REGION}\"\n\
             api_bind_addr = \"127.0.0.1:{s3}\"\n[admin]\napi_bind_addr = \"127.0.0.1:{admin}\"\n"
        );
        // Garage refuses a secret that others can read.
        let file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(directory.path().join("garage.toml"));
        file.unwrap().write_all(config.as_bytes()).unwrap();
        let mut garage = Self { directory, endpoint: format!("http://127.0.0.1:{s3}"), admin, process: None };
        garage.restart();
        Some(garage)
    }

    /// What a layer needs in its environment to keep its bytes here.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        [
            ("Storage__ObjectStore__Driver", "rustfs"),
            ("Storage__ObjectStore__Endpoint", &self.endpoint),
            ("Storage__ObjectStore__Region", REGION),
            ("Storage__ObjectStore__Bucket", BUCKET),
            ("Storage__ObjectStore__AccessKeyId", ACCESS_KEY),
            ("Storage__ObjectStore__SecretAccessKey", SECRET_KEY),
        ]
        .map(|(name, value)| (name, value.to_owned()))
        .to_vec()
    }

    /// Starts it again with what it kept.
    pub fn restart(&mut self) {
        let mut command: Command = program("garage").unwrap();
        command.arg("-c").arg(self.directory.path().join("garage.toml"));
        command.args(["server", "--single-node", "--default-bucket"]);
        command.env("GARAGE_DEFAULT_ACCESS_KEY", ACCESS_KEY).env("GARAGE_DEFAULT_SECRET_KEY", SECRET_KEY);
        command.env("GARAGE_DEFAULT_BUCKET", BUCKET);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.process = Some(command.spawn().unwrap());
        let admin = self.admin;
        until("Garage is ready", PATIENCE, || {
            std::net::TcpStream::connect(("127.0.0.1", admin)).ok()?;
            (fetch(&format!("http://127.0.0.1:{admin}/health")).status == 200).then_some(())
        });
    }

    /// Ends it as a crash does.
    pub fn kill(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        let _ = process.kill();
        let _ = process.wait();
    }

    /// Lets it do nothing any more; its connections stay.
    pub fn stall(&self) {
        self.signal(Signal::STOP);
    }

    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(self.process.as_ref().unwrap()), signal).unwrap();
    }
}

impl Drop for Garage {
    fn drop(&mut self) {
        self.kill();
    }
}
