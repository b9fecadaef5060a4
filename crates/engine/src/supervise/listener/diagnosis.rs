//! The kernel's own answer about sockets: netlink's `NETLINK_SOCK_DIAG` (sock_diag(7), linux/inet_diag.h).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rustix::fd::OwnedFd;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with};

use super::Listener;

/// `struct nlmsghdr`, before every message (linux/netlink.h).
const HEADER: usize = 16;
/// `struct inet_diag_req_v2`.
const REQUEST: usize = 56;
/// `struct inet_diag_msg`, and where in it are the address and the user.
const SOCKET: usize = 72;
const ADDRESS: usize = 8;
const USER: usize = 64;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST | NLM_F_DUMP`.
const ALL_THAT_FIT: u16 = 0x301;
const IPPROTO_TCP: u8 = 6;
/// `TCP_LISTEN`, as a bit among the states that are asked for: the kernel goes through no others then.
const LISTENING: u32 = 1 << 10;
/// The most that the kernel puts into one answer of a dump.
const ANSWER: usize = 32 << 10;

/// Who listens on a port, or on any where it is zero.
pub(super) fn listeners(port: u16) -> io::Result<Vec<Listener>> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(netlink::SOCK_DIAG))?;
    let mut found = Vec::new();
    for family in [AddressFamily::INET, AddressFamily::INET6] {
        send(&socket, &request(family, port), SendFlags::empty())?;
        read(&socket, &mut found)?;
    }
    Ok(found)
}

fn request(family: AddressFamily, port: u16) -> [u8; HEADER + REQUEST] {
    let mut message = [0; HEADER + REQUEST];
    message[0..4].copy_from_slice(&((HEADER + REQUEST) as u32).to_ne_bytes());
    message[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    message[6..8].copy_from_slice(&ALL_THAT_FIT.to_ne_bytes());
    // The numbers of the two families fit in their field.
    message[HEADER] = family.as_raw() as u8;
    message[HEADER + 1] = IPPROTO_TCP;
    message[HEADER + 4..HEADER + 8].copy_from_slice(&LISTENING.to_ne_bytes());
    message[HEADER + 8..HEADER + 10].copy_from_slice(&port.to_be_bytes());
    message
}

/// Reads answers until the last of a dump. The kernel has each ready when it is read, so that nothing is waited for.
fn read(socket: &OwnedFd, found: &mut Vec<Listener>) -> io::Result<()> {
    let mut answer = vec![0; ANSWER];
    loop {
        let (_, length) = recv(socket, &mut answer[..], RecvFlags::DONTWAIT)?;
        if parse(&answer[..length.min(ANSWER)], found)? {
            return Ok(());
        }
    }
}

/// Takes the listeners out of one answer, and tells whether it was the last.
fn parse(mut answer: &[u8], found: &mut Vec<Listener>) -> io::Result<bool> {
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer is not understood");
    while !answer.is_empty() {
        let length = answer.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes) as usize).ok_or_else(malformed)?;
        let message = answer.get(..length).filter(|message| message.len() >= HEADER).ok_or_else(malformed)?;
        let (header, body) = message.split_at(HEADER);
        match u16::from_ne_bytes([header[4], header[5]]) {
            NLMSG_DONE => return Ok(true),
            NLMSG_ERROR => {
                let code = body.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes)).ok_or_else(malformed)?;
                return Err(io::Error::from_raw_os_error(-code));
            }
            SOCK_DIAG_BY_FAMILY => found.push(listener(body).ok_or_else(malformed)?),
            _ => {}
        }
        // Messages begin at multiples of four bytes.
        answer = answer.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

fn listener(body: &[u8]) -> Option<Listener> {
    let body = body.first_chunk::<SOCKET>()?;
    let port = u16::from_be_bytes(*body[4..].first_chunk()?);
    let ip: IpAddr = match AddressFamily::from_raw(body[0].into()) {
        AddressFamily::INET => Ipv4Addr::from(*body[ADDRESS..].first_chunk::<4>()?).into(),
        AddressFamily::INET6 => Ipv6Addr::from(*body[ADDRESS..].first_chunk::<16>()?).into(),
        _ => return None,
    };
    Some(Listener { address: SocketAddr::new(ip, port), uid: u32::from_ne_bytes(*body[USER..].first_chunk()?) })
}

#[cfg(test)]
mod tests {
    use super::{Listener, parse};

    #[test]
    fn what_is_cut_off_or_refused_is_an_error() {
        let mut found = Vec::<Listener>::new();
        // 16 bytes of header, of type NLMSG_DONE.
        let done = [16u32.to_ne_bytes(), [3u16.to_ne_bytes(), [0; 2]].concat().try_into().unwrap(), [0; 4], [0; 4]];
        assert!(parse(&done.concat(), &mut found).unwrap());
        assert!(!parse(&[], &mut found).unwrap());
        let kind = |kind: u16, length: u32| {
            let header = [length.to_ne_bytes().to_vec(), kind.to_ne_bytes().to_vec(), vec![0; 10]].concat();
            [header, (-13i32).to_ne_bytes().to_vec()].concat()
        };
        for (answer, expected) in [
            (kind(2, 20), std::io::ErrorKind::PermissionDenied),
            (kind(20, 20), std::io::ErrorKind::InvalidData),
            (kind(20, 0), std::io::ErrorKind::InvalidData),
            (kind(20, 99), std::io::ErrorKind::InvalidData),
            (vec![1, 2], std::io::ErrorKind::InvalidData),
        ] {
            assert_eq!(parse(&answer, &mut found).unwrap_err().kind(), expected, "{answer:?}");
        }
        assert!(found.is_empty());
    }
}
