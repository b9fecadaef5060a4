//! Who listens on a port.
//!
//! We prove to an engine that is reached by TCP who we are with a secret. While it is down any user of the machine can listen
//! on its port and wait for that secret, so it is sent to the engine's user alone.

mod diagnosis;
mod tables;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A socket that listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Listener {
    address: SocketAddr,
    /// The user whose process it is.
    uid: u32,
}

/// The user whose process listens at an address of this machine; none where nobody does, or the system does not tell.
pub fn listener_owner(address: SocketAddr) -> Option<u32> {
    owner(&listeners(address.port()), address)
}

/// The TCP ports that something on this machine listens on. Where the system does not tell none is known to be busy, and a start
/// that meets a busy port says so.
pub fn busy_ports() -> BTreeSet<u16> {
    listeners(EVERY_PORT).into_iter().map(|listener| listener.address.port()).collect()
}

/// Stands for all ports where listeners are asked for: nobody listens on it.
const EVERY_PORT: u16 = 0;

/// The kernel's answer to a question about listeners alone takes some 30 µs; its tables show all connections too, and with them
/// take tens of milliseconds on a machine that has many.
fn listeners(port: u16) -> Vec<Listener> {
    diagnosis::listeners(port).unwrap_or_else(|error| {
        tracing::debug!(%error, "the kernel was not asked about sockets, and its tables are read");
        tables::listeners(port)
    })
}

/// Whoever listens at the address itself comes before those who listen at all of them.
fn owner(listeners: &[Listener], address: SocketAddr) -> Option<u32> {
    let at = |ip: IpAddr| {
        let at = SocketAddr::new(ip, address.port());
        listeners.iter().filter(move |listener| listener.address == at).map(|listener| listener.uid)
    };
    let all = [IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::UNSPECIFIED)];
    let exact: Vec<u32> = at(address.ip()).collect();
    let owners = if exact.is_empty() { all.into_iter().flat_map(at).collect() } else { exact };
    let (first, others) = owners.split_first()?;
    // Which of several would have a connection is not told.
    others.iter().all(|other| other == first).then_some(*first)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::{Listener, busy_ports, diagnosis, listener_owner, owner, tables};

    #[test]
    fn a_port_is_its_listeners() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = TcpStream::connect(address).unwrap();
        assert_eq!(listener_owner(address), Some(rustix::process::geteuid().as_raw()));
        assert_eq!(listener_owner(client.local_addr().unwrap()), None, "a client does not listen");
        assert!(busy_ports().contains(&address.port()));
        drop(listener);
        assert_eq!(listener_owner(address), None);
    }

    #[test]
    fn the_kernel_says_what_its_tables_show() {
        for address in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"] {
            // Not every machine has the newer protocol.
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let address = listener.local_addr().unwrap();
            let expected = [Listener { address, uid: rustix::process::geteuid().as_raw() }];
            assert_eq!(tables::listeners(address.port()), expected);
            // Where it may not be asked there is nothing to compare.
            if let Ok(told) = diagnosis::listeners(address.port()) {
                assert_eq!(told, expected);
                assert!(diagnosis::listeners(0).unwrap().contains(&expected[0]));
            }
        }
    }

    #[test]
    fn who_listens_at_all_addresses_comes_last() {
        let listeners = [
            ("127.0.0.1:7422", 107),
            ("[::1]:7423", 108),
            ("[::]:7422", 109),
            ("0.0.0.0:7424", 110),
            ("[::]:7424", 111),
        ];
        let listeners = listeners.map(|(address, uid)| Listener { address: address.parse().unwrap(), uid });
        for (address, expected) in [
            ("127.0.0.1:7422", Some(107)),
            ("[::1]:7423", Some(108)),
            ("192.0.2.1:7422", Some(109)),
            ("192.0.2.1:7423", None),
            ("192.0.2.1:7424", None),
        ] {
            assert_eq!(owner(&listeners, address.parse().unwrap()), expected, "{address}");
        }
    }
}
