//! A real Garage on one node, for one test: its own directory, its own ports.

use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, io::Write, net::TcpListener};

use mainstay_dataplane_s3::{Patience, S3Config, S3Plane};
use opendal::Operator;
use tempfile::TempDir;

const BUCKET: &str = "content";
const REGION: &str = "garage";
const ACCESS_KEY: &str = "GK0123456789abcdef01234567";
const SECRET_KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// It is ready in a tenth of a second; a busy machine may take its time.
const START_LIMIT: Duration = Duration::from_secs(30);

pub struct Garage {
    process: Child,
    endpoint: String,
    _directory: TempDir,
}

impl Garage {
    /// Starts one, where Garage is installed.
    pub async fn start() -> Option<Self> {
        let Some(program) = program() else {
            eprintln!(
                "SKIPPED: Garage is not installed, so the data plane is NOT tested on a real S3 store. `scripts/setup test` \
                 installs it; MAINSTAY_TEST_GARAGE names one elsewhere."
            );
            return None;
        };
        let directory = tempfile::tempdir().unwrap();
        let [s3, rpc, admin] = free_ports();
        let config = write_config(directory.path(), s3, rpc, admin);
        let log = fs::File::create(directory.path().join("log")).unwrap();
        let process = Command::new(program)
            .arg("-c")
            .arg(config)
            .args(["server", "--single-node", "--default-bucket"])
            .env("GARAGE_DEFAULT_ACCESS_KEY", ACCESS_KEY)
            .env("GARAGE_DEFAULT_SECRET_KEY", SECRET_KEY)
            .env("GARAGE_DEFAULT_BUCKET", BUCKET)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let garage = Self { process, endpoint: format!("http://127.0.0.1:{s3}"), _directory: directory };
        garage.wait().await;
        Some(garage)
    }

    pub fn config(&self, prefix: &str) -> S3Config {
        Self::config_at(&self.endpoint, prefix)
    }

    /// Of one that another process has started.
    pub fn config_at(endpoint: &str, prefix: &str) -> S3Config {
        S3Config {
            endpoint: endpoint.into(),
            region: REGION.into(),
            bucket: BUCKET.into(),
            prefix: prefix.into(),
            access_key_id: ACCESS_KEY.into(),
            secret_access_key: SECRET_KEY.to_owned().into(),
            patience: Patience::default(),
        }
    }

    pub async fn open(&self, prefix: &str) -> S3Plane {
        S3Plane::open(self.config(prefix)).await.unwrap()
    }

    /// The store itself, past the data plane.
    pub fn raw(&self, prefix: &str) -> Operator {
        mainstay_dataplane_s3::operator(&self.config(prefix)).unwrap()
    }

    async fn wait(&self) {
        let deadline = Instant::now() + START_LIMIT;
        let raw = self.raw("");
        while raw.list("nothing/").await.is_err() {
            assert!(Instant::now() < deadline, "Garage should be ready within {START_LIMIT:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Garage {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn program() -> Option<PathBuf> {
    let named = std::env::var_os("MAINSTAY_TEST_GARAGE").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    named.or_else(|| std::env::split_paths(&path).map(|folder| folder.join("garage")).find(|program| program.is_file()))
}

fn free_ports() -> [u16; 3] {
    let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

fn write_config(directory: &Path, s3: u16, rpc: u16, admin: u16) -> PathBuf {
    let path = directory.join("garage.toml");
    let text = format!(
        r#"
metadata_dir = "{0}/meta"
data_dir = "{0}/data"
db_engine = "lmdb"
replication_factor = 1
rpc_bind_addr = "127.0.0.1:{rpc}"
rpc_secret = "{SECRET_KEY}"

[s3_api]
s3_region = "{REGION}"
api_bind_addr = "127.0.0.1:{s3}"

[admin]
api_bind_addr = "127.0.0.1:{admin}"
"#,
        directory.display()
    );
    // Garage refuses a secret that others can read.
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    path
}
