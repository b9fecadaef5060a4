//! The configuration: one TOML file, environment variables over it, the command line over both.
//!
//! Text goes in, a [`Config`] comes out in which everything is checked, or else every mistake at once. There is no
//! fallback that nobody asked for: outside development a missing or unknown storage setting stops the start.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mainstay_repository::Credentials;
use mainstay_storage::{Driver, Location, Service};
use secrecy::SecretString;

mod key;
mod mistake;
mod source;
mod validate;

#[cfg(test)]
mod tests;

pub use key::Key;
pub use mistake::{ConfigErrors, Mistake, Origin};

/// The name of the variable that names the data directory; `--data-dir` comes before it.
pub const DATA_DIR_VARIABLE: &str = "MAINSTAY_DATA_DIR";

/// A configuration in which every value is checked and none contradicts another.
#[derive(Debug, Clone)]
pub struct Config {
    pub environment: RuntimeEnvironment,
    /// The configuration file that was read, where there was one. An absolute path.
    pub file: Option<PathBuf>,
    /// An absolute path. Whether it can be written to is seen when it is used.
    pub data_dir: PathBuf,
    pub storage: Storage,
    /// Where the bytes of objects are kept; none where nobody says, and object storage is not offered.
    pub object_store: Option<ObjectStore>,
    pub data_plane: DataPlaneMode,
    pub s3: S3,
    pub listen: Listen,
    pub engines: Engines,
    pub custody: Custody,
    pub recovery: Recovery,
    pub log: Log,
    pub telemetry: Telemetry,
}

/// `Runtime:Environment`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuntimeEnvironment {
    Production,
    Development,
}

/// Where each service keeps its state.
#[derive(Debug, Clone)]
pub struct Storage {
    location: StorageLocation,
}

#[derive(Debug, Clone)]
enum StorageLocation {
    InMemory,
    Directory(PathBuf),
    Postgres { default: Option<SecretString>, own: Vec<(Service, SecretString)> },
}

/// Where the bytes of objects are kept.
#[derive(Debug, Clone)]
pub struct ObjectStore {
    pub backend: ObjectBackend,
    /// How long content that nothing refers to is kept.
    pub grace: Duration,
}

/// `Storage:ObjectStore:Driver`, with what it needs.
#[derive(Debug, Clone)]
pub enum ObjectBackend {
    /// A directory of this machine. An absolute path.
    SeedFs(PathBuf),
    Rustfs(Rustfs),
}

/// A store that speaks S3.
#[derive(Debug, Clone)]
pub struct Rustfs {
    /// Without a final slash.
    pub endpoint: String,
    pub region: String,
    pub bucket: String,
    pub prefix: String,
    pub access_key_id: String,
    pub secret_access_key: SecretString,
}

/// `DataPlane:Mode`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataPlaneMode {
    InProcess,
    /// A daemon, behind its Unix socket.
    Remote(PathBuf),
}

/// How the S3 API names itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3 {
    pub region: String,
    /// Buckets are `BUCKET.DOMAIN` too.
    pub domain: String,
}

/// Where clients connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    pub api: SocketAddr,
    pub s3: SocketAddr,
    /// The shared PostgreSQL cluster.
    pub postgresql: SocketAddr,
    /// The shared clusters of Redis and of Valkey.
    pub redis: SocketAddr,
    pub valkey: SocketAddr,
    /// The shared NATS cluster.
    pub nats: SocketAddr,
    /// The shared RabbitMQ cluster, plain and with TLS, on one address.
    pub rabbitmq: SocketAddr,
    pub rabbitmq_tls: SocketAddr,
    /// The first port of dedicated clusters; they take it and those above.
    pub dedicated_ports: u16,
    /// What the API and the S3 API are served in TLS with; none where it is plain.
    pub tls: Option<TlsFiles>,
}

/// The PEM files of a TLS listener. Absolute paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// How engines are run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Engines {
    /// The system user that engines are to run as; none where nobody says, and the engines' own rule decides.
    pub user: Option<String>,
    /// The folder of PostgreSQL's programs; none where the newest on the machine is to be found.
    pub postgresql_bin_dir: Option<PathBuf>,
    /// The folders of the others' programs; none where they are to be found in the usual places.
    pub redis_bin_dir: Option<PathBuf>,
    pub valkey_bin_dir: Option<PathBuf>,
    pub nats_bin_dir: Option<PathBuf>,
    pub rabbitmq_bin_dir: Option<PathBuf>,
}

/// How secrets are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Custody {
    pub seal: Seal,
    /// Where each request to custody is told of. An absolute path.
    pub audit_file: PathBuf,
}

/// `Custody:Seal`: what keeps the key that all others are wrapped with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seal {
    /// A file, which is there at every start. An absolute path.
    KeyFile {
        file: PathBuf,
        /// Whether the file may be made where there is none: in development, at its default place.
        may_create: bool,
    },
    /// Shares that operators hold.
    Shamir,
}

/// Where backups are kept.
#[derive(Debug, Clone)]
pub struct Recovery {
    /// None where nothing is protected.
    pub repository: Option<RepositoryPlace>,
    /// Whether somebody has said that nothing is to be protected.
    pub declined: bool,
    /// Copies of the repository elsewhere.
    pub copies: Vec<RepositoryPlace>,
    /// How long whatever is in the repository stays there at least.
    pub immutable_for: Duration,
}

/// Where a repository lies, and how one gets in.
#[derive(Debug, Clone)]
pub struct RepositoryPlace {
    pub location: mainstay_repository::Location,
    pub credentials: Credentials,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    pub format: LogFormat,
    /// Directives that `tracing_subscriber::EnvFilter` has accepted.
    pub filter: String,
}

/// `Log:Format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    Text,
    Json,
}

/// Where traces go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Telemetry {
    /// The base URL of an OTLP collector (HTTP), without a final slash; none where no traces are wanted.
    pub otlp_endpoint: Option<String>,
}

/// What the command line says about the configuration.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--data-dir`.
    pub data_dir: Option<PathBuf>,
    /// Whether the command is `mainstay up`, which means development on files where nobody says otherwise.
    pub up: bool,
    /// `--repository`.
    pub repository: Option<String>,
}

/// All that a configuration is made from.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    /// The configuration file, and its text.
    pub file: Option<(&'a Path, &'a str)>,
    /// The variables of the process's environment.
    pub environment: &'a [(String, String)],
    pub overrides: &'a Overrides,
    /// Whether the process is root, whose data has a place of its own.
    pub superuser: bool,
    /// What a relative data directory is relative to.
    pub working_directory: &'a Path,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("the configuration file {} cannot be read; see that it exists and that this user may read it", .file.display())]
    Unreadable {
        file: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the working directory cannot be told; change to one that exists")]
    NoWorkingDirectory(#[source] std::io::Error),
    #[error(transparent)]
    Invalid(#[from] ConfigErrors),
}

// === impl Config ===

impl Config {
    /// Reads the file and the environment. The one function here that touches the machine.
    pub fn load(file: Option<&Path>, overrides: &Overrides) -> Result<Self, LoadError> {
        let unreadable = |source| LoadError::Unreadable { file: file.unwrap_or(Path::new("")).to_owned(), source };
        let text = file.map(std::fs::read_to_string).transpose().map_err(unreadable)?;
        // Text that is not UTF-8 is kept as far as it is, so that it is refused under its own name.
        let environment: Vec<(String, String)> = std::env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
            .collect();
        let working_directory = std::env::current_dir().map_err(LoadError::NoWorkingDirectory)?;
        Ok(Self::from_sources(Sources {
            file: file.zip(text.as_deref()),
            environment: &environment,
            overrides,
            superuser: rustix::process::geteuid().is_root(),
            working_directory: &working_directory,
        })?)
    }

    /// Decides what the sources mean, or says everything that is wrong with them.
    pub fn from_sources(sources: Sources<'_>) -> Result<Self, ConfigErrors> {
        let mut mistakes = Vec::new();
        let settings = source::collect(&sources, &mut mistakes);
        validate::validate(&settings, &sources, mistakes)
    }
}

// === impl Listen ===

impl Listen {
    /// Where clients find the API.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.api)
    }

    /// Where clients find the S3 API.
    pub fn s3_url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.s3)
    }
}

// === impl Storage ===

impl Storage {
    /// The driver, `Storage:Driver`.
    pub fn driver(&self) -> Driver {
        match self.location {
            StorageLocation::InMemory => Driver::InMemory,
            StorageLocation::Directory(_) => Driver::Filesystem,
            StorageLocation::Postgres { .. } => Driver::Postgres,
        }
    }

    /// The directory of the stores, where they are files. It need not exist yet.
    pub fn directory(&self) -> Option<&Path> {
        match &self.location {
            StorageLocation::Directory(directory) => Some(directory),
            StorageLocation::InMemory | StorageLocation::Postgres { .. } => None,
        }
    }

    /// Where a service keeps its state. A connection string of its own takes precedence over the default.
    pub fn location(&self, service: Service) -> Location {
        match &self.location {
            StorageLocation::InMemory => Location::InMemory,
            StorageLocation::Directory(directory) => Location::Directory(directory.clone()),
            StorageLocation::Postgres { default, own } => {
                let own = own.iter().find(|(owner, _)| *owner == service).map(|(_, uri)| uri);
                let uri = own.or(default.as_ref()).expect("a service without a connection string was refused");
                Location::Postgres(uri.clone())
            }
        }
    }
}

// === impl RuntimeEnvironment ===

impl RuntimeEnvironment {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Development => "development",
        }
    }
}

impl std::fmt::Display for RuntimeEnvironment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}
