//! Who listens on a port.
//!
//! We prove to an engine that is reached by TCP who we are with a secret. While it is down any user of the machine can listen
//! on its port and wait for that secret, so it is sent to the engine's user alone.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The state of a listening socket in `/proc/net/tcp` (proc(5), include/net/tcp_states.h).
const LISTENING: &str = "0A";
/// The two tables, which have one form.
const TABLES: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];

/// The user whose process listens at an address of this machine; none where nobody does, or the system does not tell.
pub fn listener_owner(address: SocketAddr) -> Option<u32> {
    let tables: String = TABLES.iter().filter_map(|table| fs::read_to_string(table).ok()).collect();
    find(&tables, address)
}

/// Whoever listens at the address itself comes before those who listen at all of them.
fn find(tables: &str, address: SocketAddr) -> Option<u32> {
    let at = |ip: IpAddr| owners(tables, SocketAddr::new(ip, address.port()));
    let all = [IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::UNSPECIFIED)];
    let exact = at(address.ip());
    let owners = if exact.is_empty() { all.into_iter().flat_map(at).collect() } else { exact };
    let (first, others) = owners.split_first()?;
    // Which of several would have a connection is not told.
    others.iter().all(|other| other == first).then_some(*first)
}

/// A line is `sl local_address rem_address st queues timer retransmits uid ...`.
fn owners(tables: &str, address: SocketAddr) -> Vec<u32> {
    let local = told(address);
    let listening = tables.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let is_it = fields.get(1) == Some(&local.as_str()) && fields.get(3) == Some(&LISTENING);
        is_it.then(|| fields.get(7)?.parse().ok())?
    });
    listening.collect()
}

/// An address as the tables have it: words of four bytes, each in the machine's byte order.
fn told(address: SocketAddr) -> String {
    let octets = match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let words = octets.chunks_exact(4).map(|word| u32::from_ne_bytes([word[0], word[1], word[2], word[3]]));
    let words: String = words.map(|word| format!("{word:08X}")).collect();
    format!("{words}:{:04X}", address.port())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::{find, listener_owner};

    #[test]
    fn a_port_is_its_listeners() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = TcpStream::connect(address).unwrap();
        assert_eq!(listener_owner(address), Some(rustix::process::geteuid().as_raw()));
        assert_eq!(listener_owner(client.local_addr().unwrap()), None, "a client does not listen");
        drop(listener);
        assert_eq!(listener_owner(address), None);
    }

    #[test]
    fn addresses_of_both_kinds_are_found() {
        if cfg!(target_endian = "big") {
            return;
        }
        let tables = "\
            0: 0100007F:1CFE 00000000:0000 0A 00000000:00000000 00:00000000 00000000   107        0 1 1\n\
            1: 00000000000000000000000001000000:1CFF 00000000000000000000000000000000:0000 0A 0:0 00:0 0 108 0 2\n\
            2: 00000000000000000000000000000000:1CFE 00000000000000000000000000000000:0000 0A 0:0 00:0 0 109 0 2\n\
            3: 00000000:1D00 00000000:0000 0A 00000000:00000000 00:00000000 00000000   110        0 1 1\n\
            4: 00000000000000000000000000000000:1D00 00000000000000000000000000000000:0000 0A 0:0 00:0 0 111 0 2\n";
        for (address, expected) in [
            ("127.0.0.1:7422", Some(107)),
            ("[::1]:7423", Some(108)),
            ("192.0.2.1:7422", Some(109)),
            ("192.0.2.1:7423", None),
            ("192.0.2.1:7424", None),
        ] {
            assert_eq!(find(tables, address.parse().unwrap()), expected, "{address}");
        }
    }
}
