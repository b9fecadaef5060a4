//! The ports that are only ours: all of them on loopback, drawn anew for each process.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use mainstay_engine::EngineError;
use mainstay_engine::supervise::{ClusterDirectory, write_own_file};
use serde::{Deserialize, Serialize};

/// The version of the file's form.
const FORMAT: u32 = 1;
const NAME: &str = "ports.json";

/// Where a node listens besides for its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ports {
    format: u32,
    /// The management API.
    pub management: u16,
    /// Erlang's distribution, which nobody of ours uses and no node goes without.
    pub distribution: u16,
    /// The node's own epmd, which tells others the port of the distribution.
    pub epmd: u16,
}

impl Ports {
    /// Three that are free now. Should one be taken before the node has it, then its start fails and is tried again.
    pub fn draw() -> Result<Self, EngineError> {
        let draw = || -> std::io::Result<Self> {
            // All are held until all are known, so that they differ.
            let held = [listen()?, listen()?, listen()?];
            let [management, distribution, epmd] = held.map(|listener| listener.local_addr().map(|at| at.port()));
            Ok(Self { format: FORMAT, management: management?, distribution: distribution?, epmd: epmd? })
        };
        draw().map_err(|error| EngineError::transient_from("there is no free port on loopback", error))
    }

    /// Those of the newest process; none where there was none.
    pub fn read(directory: &ClusterDirectory) -> Option<Self> {
        let ports: Self = serde_json::from_slice(&fs::read(directory.root().join(NAME)).ok()?).ok()?;
        (ports.format == FORMAT).then_some(ports)
    }

    /// Puts them where the next control plane finds them. The file is ours, out of the engine's reach.
    pub fn write(&self, directory: &ClusterDirectory) -> Result<(), EngineError> {
        let text = serde_json::to_string(self).expect("numbers are always JSON");
        write_own_file(directory.root(), NAME, &text)
    }

    /// Where the management API listens.
    pub fn management_address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.management).into()
    }
}

fn listen() -> std::io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
}

#[cfg(test)]
mod tests {
    use super::Ports;

    #[test]
    fn they_differ() {
        let ports = Ports::draw().unwrap();
        assert!(ports.management != ports.epmd && ports.epmd != ports.distribution);
        assert_ne!(ports.management, ports.distribution);
    }

    #[test]
    fn the_file_of_the_first_version_is_read() {
        let sample = r#"{"format":1,"management":40001,"distribution":40002,"epmd":40003}"#;
        let ports: Ports = serde_json::from_str(sample).unwrap();
        assert_eq!((ports.management, ports.distribution, ports.epmd), (40_001, 40_002, 40_003));
        assert_eq!(serde_json::to_string(&ports).unwrap(), sample);
    }
}
