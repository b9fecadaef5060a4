//! What of the machine outside the layer bears on a decision.

use std::collections::BTreeSet;
use std::path::Path;

/// The TCP ports that something on this machine listens on.
///
/// Read from `/proc/net/tcp` and `/proc/net/tcp6`: the local address is the second field (`0100007F:1D88`), state
/// `0A` is LISTEN. Where they can not be read nothing is known to be busy, and a start that meets a busy port says so.
pub fn busy_ports() -> BTreeSet<u16> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| std::fs::read_to_string(path).unwrap_or_default());
    tables.iter().flat_map(|table| table.lines().filter_map(listening_port)).collect()
}

fn listening_port(line: &str) -> Option<u16> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let local = fields.next()?;
    let state = fields.nth(1)?;
    (state == "0A").then(|| u16::from_str_radix(local.rsplit(':').next()?, 16).ok())?
}

/// How many bytes an unprivileged process could still write to the file system that holds a path.
pub(crate) fn free_bytes(path: &Path) -> std::io::Result<u64> {
    let found = rustix::fs::statvfs(path)?;
    Ok(found.f_bavail * found.f_frsize)
}

#[cfg(test)]
mod tests {
    use super::{busy_ports, listening_port};

    #[test]
    fn a_listening_line_gives_its_port() {
        let listening = "   0: 0100007F:1D88 00000000:0000 0A 00000000:00000000 00:00000000 00000000   101";
        let connected = "   1: 0100007F:1D88 0100007F:8E3C 01 00000000:00000000 00:00000000 00000000   101";
        assert_eq!(listening_port(listening), Some(7560));
        assert_eq!(listening_port(connected), None);
        assert_eq!(listening_port("  sl  local_address rem_address   st tx_queue rx_queue"), None);
        assert_eq!(listening_port(""), None);
    }

    #[test]
    fn a_port_that_is_listened_on_is_busy() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(busy_ports().contains(&listener.local_addr().unwrap().port()));
    }
}
