//! What the engine is told when it is built.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use mainstay_engine::CertificateAuthority;
use mainstay_engine::supervise::EngineUser;

/// Where clusters are kept, who runs them, and where they listen.
#[derive(Debug, Clone)]
pub struct PostgresqlConfig {
    /// The directory of all clusters. Those who run the engine have to be able to pass through its parents.
    pub clusters_dir: PathBuf,
    /// Who the servers run as.
    pub user: EngineUser,
    /// Where the programs are; the newest version installed where that is not said.
    pub bin_dir: Option<PathBuf>,
    /// The one address that servers listen on, and that clients are told.
    pub listen_address: IpAddr,
    /// Whom servers answer besides the machine itself.
    pub client_networks: Vec<ClientNetwork>,
    /// The port of the shared cluster.
    pub shared_port: u16,
    /// Who issues certificates; none where nobody does, and no server speaks TLS.
    pub authority: Option<Arc<dyn CertificateAuthority>>,
}

impl PostgresqlConfig {
    /// Clusters in this directory, run by this user, reachable from this machine alone.
    pub fn new(clusters_dir: PathBuf, user: EngineUser) -> Self {
        Self {
            clusters_dir,
            user,
            bin_dir: None,
            listen_address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            client_networks: Vec::new(),
            shared_port: 7432,
            authority: None,
        }
    }
}

/// A range of addresses, `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientNetwork {
    address: IpAddr,
    prefix: u8,
}

/// Text that is no range of addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a network; write it as ADDRESS/PREFIX, for example 10.0.0.0/8")]
pub struct InvalidNetwork {
    text: String,
}

impl FromStr for ClientNetwork {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (address, prefix) = text.split_once('/')?;
            let (address, prefix): (IpAddr, u8) = (address.parse().ok()?, prefix.parse().ok()?);
            (prefix <= width(address)).then_some(Self { address, prefix })
        };
        parse().ok_or_else(|| InvalidNetwork { text: text.chars().take(80).collect() })
    }
}

impl From<IpAddr> for ClientNetwork {
    /// The network of this address alone.
    fn from(address: IpAddr) -> Self {
        Self { address, prefix: width(address) }
    }
}

impl std::fmt::Display for ClientNetwork {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

#[cfg(test)]
mod tests {
    use super::ClientNetwork;

    #[test]
    fn networks() {
        for good in ["127.0.0.1/32", "10.0.0.0/8", "::1/128", "fd00::/8"] {
            assert_eq!(good.parse::<ClientNetwork>().unwrap().to_string(), good);
        }
        for bad in ["", "all", "10.0.0.0", "10.0.0.0/33", "10.0.0.0/8 trust", "::1/129", "a/8"] {
            assert!(bad.parse::<ClientNetwork>().is_err(), "{bad:?} should be refused");
        }
    }
}
