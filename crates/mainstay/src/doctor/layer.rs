//! Whether the layer runs, and who has its ports.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use ureq::tls::TlsConfig;

use crate::config::{Config, Key};

/// How long the layer has for its answer: a healthy one needs a millisecond, and a person waits for the report.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// What is known about the addresses that clients connect to.
#[derive(Debug)]
pub(super) struct Ports {
    pub layer: Layer,
    pub ports: Vec<Port>,
    /// Ports of engines whose data is ours. They outlive the layer, which finds them again.
    pub own_engines: BTreeSet<u16>,
}

/// Who answers at the API's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Layer {
    /// A layer that says it lives.
    Lives,
    Nobody,
    /// Something that is no layer, or one that hangs.
    Other(String),
}

#[derive(Debug)]
pub(super) struct Port {
    /// The key that sets it.
    pub key: Key,
    pub address: SocketAddr,
    pub state: PortState,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PortState {
    Free,
    Taken,
    /// The address is not one of this machine, or not for this user.
    Unusable(String),
}

impl Ports {
    pub fn gather(config: &Config) -> Self {
        let listen = &config.listen;
        let dedicated = SocketAddr::new(listen.postgresql.ip(), listen.dedicated_ports);
        let addresses = [
            (Key::ListenApi, listen.api),
            (Key::ListenS3, listen.s3),
            (Key::ListenPostgresql, listen.postgresql),
            (Key::ListenRedis, listen.redis),
            (Key::ListenValkey, listen.valkey),
            (Key::ListenNats, listen.nats),
            (Key::ListenRabbitmq, listen.rabbitmq),
            (Key::ListenRabbitmqTls, listen.rabbitmq_tls),
            (Key::ListenDedicatedPorts, dedicated),
        ];
        Self {
            layer: Layer::ask(&listen.url()),
            ports: addresses.map(|(key, address)| Port { key, address, state: PortState::of(address) }).into(),
            own_engines: own_engine_ports(&config.data_dir),
        }
    }
}

impl Layer {
    fn ask(url: &str) -> Self {
        // Nothing is sent that could be stolen; whether clients trust the certificate is for them to see.
        let tls = TlsConfig::builder().disable_verification(true).build();
        let config = ureq::Agent::config_builder().timeout_global(Some(ANSWER_TIMEOUT)).proxy(None).tls_config(tls);
        match config.build().new_agent().get(format!("{url}/livez")).call() {
            Ok(_) => Self::Lives,
            Err(ureq::Error::StatusCode(code)) => Self::Other(format!("something answers /livez with {code}")),
            Err(ureq::Error::Io(error)) if error.kind() == ErrorKind::ConnectionRefused => Self::Nobody,
            Err(ureq::Error::ConnectionFailed) => Self::Nobody,
            Err(error) => Self::Other(format!("/livez gives no answer: {error}")),
        }
    }
}

impl PortState {
    fn of(address: SocketAddr) -> Self {
        match TcpListener::bind(address) {
            Ok(_) => Self::Free,
            Err(error) if error.kind() == ErrorKind::AddrInUse => Self::Taken,
            Err(error) => Self::Unusable(error.to_string()),
        }
    }
}

/// The ports of the PostgreSQL servers whose data lies in `data/` of a cluster's folder, two levels down.
///
/// The first line of postmaster.pid is the server's process, the fourth its port.
fn own_engine_ports(data_dir: &Path) -> BTreeSet<u16> {
    let below = |folder: &Path| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let clusters = below(data_dir).into_iter().flat_map(|folder| below(&folder));
    let port = |text: String| {
        let pid: u32 = text.lines().next()?.trim().parse().ok()?;
        let lives = Path::new("/proc").join(pid.to_string()).exists();
        text.lines().nth(3)?.trim().parse().ok().filter(|_| lives)
    };
    clusters.filter_map(|cluster| port(std::fs::read_to_string(cluster.join("data/postmaster.pid")).ok()?)).collect()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::{SocketAddr, TcpListener};

    use super::{Layer, PortState, own_engine_ports};

    fn answering(status: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let reader = BufReader::new(stream.try_clone().unwrap());
            assert!(reader.lines().map(Result::unwrap).any(|line| line.is_empty()));
            write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
        });
        address
    }

    fn url(address: SocketAddr) -> String {
        format!("http://{address}")
    }

    #[test]
    fn a_layer_is_told_from_nobody_and_from_others() {
        assert_eq!(Layer::ask(&url(answering("200 OK"))), Layer::Lives);
        assert_eq!(
            Layer::ask(&url(answering("404 Not Found"))),
            Layer::Other("something answers /livez with 404".to_owned())
        );
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_eq!(Layer::ask(&url(free)), Layer::Nobody);
    }

    #[test]
    fn ports_are_free_or_taken_or_not_ours_to_use() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(PortState::of(address), PortState::Taken);
        drop(listener);
        assert_eq!(PortState::of(address), PortState::Free);
        assert!(matches!(PortState::of("192.0.2.1:7400".parse().unwrap()), PortState::Unusable(_)));
    }

    #[test]
    fn engines_that_run_on_our_data_are_known_by_their_port() {
        let data_dir = tempfile::tempdir().unwrap();
        for (cluster, pid) in [("postgresql-shared", std::process::id()), ("postgresql-dead", u32::MAX)] {
            let data = data_dir.path().join("clusters").join(cluster).join("data");
            std::fs::create_dir_all(&data).unwrap();
            let port = if pid == u32::MAX { 7500 } else { 7432 };
            std::fs::write(data.join("postmaster.pid"), format!("{pid}\n/data\n1700000000\n{port}\n")).unwrap();
        }
        assert_eq!(own_engine_ports(data_dir.path()).into_iter().collect::<Vec<_>>(), [7432]);
    }
}
