//! Who listens on a port.
//!
//! We prove to the management API who we are with a password. While the node is down any user of the machine can listen
//! on its port and wait for that password, so it is sent to the engine's user alone.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};

/// The state of a listening socket in `/proc/net/tcp` (proc(5), include/net/tcp_states.h).
const LISTENING: &str = "0A";

/// The user whose process listens on a loopback port; none where nobody does, or the system does not tell.
pub(crate) fn owner(port: u16) -> Option<u32> {
    find(&fs::read_to_string("/proc/net/tcp").ok()?, SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
}

/// A line is `sl local_address rem_address st queues timer retransmits uid ...`; the address is in the machine's byte order.
fn find(table: &str, address: SocketAddrV4) -> Option<u32> {
    let local = format!("{:08X}:{:04X}", u32::from_ne_bytes(address.ip().octets()), address.port());
    table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let is_it = fields.get(1) == Some(&local.as_str()) && fields.get(3) == Some(&LISTENING);
        is_it.then(|| fields.get(7)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener, TcpStream};

    use super::owner;

    #[test]
    fn a_port_is_its_listeners() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        assert_eq!(owner(port), Some(rustix::process::geteuid().as_raw()));
        assert_eq!(owner(client.local_addr().unwrap().port()), None, "a client does not listen");
        drop(listener);
        assert_eq!(owner(port), None);
    }
}
