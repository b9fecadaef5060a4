//! What the engine is told when it is built.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mainstay_engine::CertificateAuthority;
use mainstay_engine::supervise::EngineUser;

/// Which of the two servers that speak one protocol it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    Redis,
    Valkey,
}

/// Where clusters are kept, who runs them, and where they listen.
#[derive(Debug, Clone)]
pub struct RedisConfig {
    /// The directory of all clusters. Those who run the engine have to be able to pass through its parents.
    pub clusters_dir: PathBuf,
    /// Who the servers run as.
    pub user: EngineUser,
    pub flavour: Flavour,
    /// Where the server's program is; where Debian puts it where that is not said.
    pub bin_dir: Option<PathBuf>,
    /// The one address that servers listen on, and that clients are told.
    pub listen_address: IpAddr,
    /// The port of the shared cluster.
    pub shared_port: u16,
    /// Who issues the certificates of clusters that speak TLS; without one none can.
    pub authority: Option<Arc<dyn CertificateAuthority>>,
    pub patience: Patience,
}

/// How long is waited for a server that says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// A cluster that answers no question of ours for so long does not serve.
    pub answer: Duration,
    /// How long one command may keep a shared server from everybody else, after which the server is ended and started again.
    pub silence: Duration,
}

impl Default for Patience {
    /// Silence is longer than any command takes that a consumer of a shared server has reason to send.
    fn default() -> Self {
        Self { answer: Duration::from_secs(5), silence: Duration::from_secs(20) }
    }
}

impl Flavour {
    /// The engine's name, and what its programs' names begin with.
    pub fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Valkey => "valkey",
        }
    }

    fn default_shared_port(self) -> u16 {
        match self {
            Self::Redis => 7479,
            Self::Valkey => 7478,
        }
    }
}

impl RedisConfig {
    /// Clusters in this directory, run by this user, reachable from this machine alone.
    pub fn new(flavour: Flavour, clusters_dir: PathBuf, user: EngineUser) -> Self {
        Self {
            clusters_dir,
            user,
            flavour,
            bin_dir: None,
            listen_address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            shared_port: flavour.default_shared_port(),
            authority: None,
            patience: Patience::default(),
        }
    }
}
