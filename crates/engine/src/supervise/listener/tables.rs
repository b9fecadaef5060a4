//! `/proc/net/tcp` and `/proc/net/tcp6` (proc(5)): every socket of TCP, also those that listen.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{EVERY_PORT, Listener};

/// The state of a listening socket in the tables (include/net/tcp_states.h).
const LISTENING: &str = "0A";
/// The two tables, which have one form.
const TABLES: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];

/// Who listens on a port, or on any; what can not be read shows nobody.
pub(super) fn listeners(port: u16) -> Vec<Listener> {
    let tables: String = TABLES.iter().filter_map(|table| fs::read_to_string(table).ok()).collect();
    let asked = |listener: &Listener| port == EVERY_PORT || listener.address.port() == port;
    tables.lines().filter_map(listener).filter(asked).collect()
}

/// A line is `sl local_address rem_address st queues timer retransmits uid ...`.
fn listener(line: &str) -> Option<Listener> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (local, state, uid) = (fields.get(1)?, fields.get(3)?, fields.get(7)?);
    if *state != LISTENING {
        return None;
    }
    let (address, port) = local.split_once(':')?;
    let address = SocketAddr::new(parse(address)?, u16::from_str_radix(port, 16).ok()?);
    Some(Listener { address, uid: uid.parse().ok()? })
}

/// An address as the tables have it: words of four bytes, each in the machine's byte order.
fn parse(digits: &str) -> Option<IpAddr> {
    let word = |at: usize| Some(u32::from_str_radix(digits.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    match digits.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let octets: Vec<u8> = [word(0)?, word(8)?, word(16)?, word(24)?].concat();
            Some(Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::listener;

    #[test]
    fn lines_of_both_tables() {
        if cfg!(target_endian = "big") {
            return;
        }
        for (line, expected) in [
            (
                "0: 0100007F:1CFE 00000000:0000 0A 00000000:00000000 00:00000000 00000000   107        0 1 1",
                Some(("127.0.0.1:7422", 107)),
            ),
            (
                "1: 00000000000000000000000001000000:1CFF 00000000000000000000000000000000:0000 0A 0:0 00:0 0 108 0 2",
                Some(("[::1]:7423", 108)),
            ),
            ("3: 0100007F:1CFE 0100007F:8E3C 01 00000000:00000000 00:00000000 00000000   110        0 1 1", None),
            ("3: 0100:1CFE 0100007F:8E3C 0A 00000000:00000000 00:00000000 00000000   110        0 1 1", None),
            ("  sl  local_address rem_address   st tx_queue rx_queue", None),
            ("", None),
        ] {
            let found = listener(line).map(|found| (found.address, found.uid));
            assert_eq!(found, expected.map(|(address, uid)| (address.parse().unwrap(), uid)), "{line}");
        }
    }
}
