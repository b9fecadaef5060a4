//! What the engine is told when it is built.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;

use mainstay_engine::CertificateAuthority;
use mainstay_engine::supervise::EngineUser;

/// Where clusters are kept, who runs them, and where they listen.
#[derive(Debug, Clone)]
pub struct RabbitmqConfig {
    /// The directory of all clusters. Those who run the engine have to be able to pass through its parents.
    pub clusters_dir: PathBuf,
    /// Who the nodes run as.
    pub user: EngineUser,
    /// The directory of the program `rabbitmq-server`; the newest version installed where that is not said.
    pub bin_dir: Option<PathBuf>,
    /// The one address that nodes listen on for clients, and that clients are told.
    pub listen_address: IpAddr,
    /// The port of the shared cluster.
    pub shared_port: u16,
    /// The port of the shared cluster for TLS, open where there is an authority.
    pub tls_port: u16,
    /// Who issues the certificates of clusters; without one there is no TLS.
    pub authority: Option<Arc<dyn CertificateAuthority>>,
}

impl RabbitmqConfig {
    /// Clusters in this directory, run by this user, reachable from this machine alone, without TLS.
    pub fn new(clusters_dir: PathBuf, user: EngineUser) -> Self {
        Self {
            clusters_dir,
            user,
            bin_dir: None,
            listen_address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            shared_port: 7472,
            tls_port: 7471,
            authority: None,
        }
    }
}
