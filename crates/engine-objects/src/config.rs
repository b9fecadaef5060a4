//! What can be chosen.

use std::net::IpAddr;

/// Where clients reach the object store, and as what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectStoreConfig {
    /// The address that the S3 API listens on.
    pub address: IpAddr,
    /// Its port where the control plane has not given the cluster another one.
    pub port: u16,
    /// Whether it is served over TLS.
    pub tls: bool,
    /// The region that clients sign for.
    pub region: String,
}
