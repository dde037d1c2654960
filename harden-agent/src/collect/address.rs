//! Socket addresses as text, and as the path that a unix address is.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

use super::{names, path};
use crate::observation::Text;

/// An address as the kernel was given it.
pub(super) struct Address {
    /// `inet 127.0.0.1:80`, `unix @name`, …
    pub text: Text,
    /// The file of a unix address.
    pub path: Option<Text>,
}

/// Reads a `struct sockaddr` of `bytes.len()` bytes; `base` is the directory that a relative unix
/// path starts from. `None` if it is too short to say anything.
#[must_use]
pub(super) fn parse(bytes: &[u8], base: &[u8]) -> Option<Address> {
    let (family, rest) = bytes.split_first_chunk::<2>()?;
    let family = u16::from_ne_bytes(*family);
    let name = names::family(u32::from(family));
    match i32::from(family) {
        libc::AF_UNIX => Some(unix(rest, base)),
        libc::AF_INET => {
            let port = u16::from_be_bytes(*rest.first_chunk()?);
            let ip = Ipv4Addr::from(*rest.get(2..6)?.first_chunk::<4>()?);
            Some(plain(&format!("{name} {}", SocketAddrV4::new(ip, port))))
        }
        libc::AF_INET6 => {
            let port = u16::from_be_bytes(*rest.first_chunk()?);
            let ip = Ipv6Addr::from(*rest.get(6..22)?.first_chunk::<16>()?);
            Some(plain(&format!(
                "{name} {}",
                SocketAddrV6::new(ip, port, 0, 0)
            )))
        }
        libc::AF_NETLINK => {
            let groups = rest.get(6..10).and_then(|bytes| bytes.first_chunk::<4>());
            let groups = groups.map_or(0, |bytes| u32::from_ne_bytes(*bytes));
            Some(plain(&format!("{name} groups {groups:#x}")))
        }
        _ => {
            // The unread rest, in hexadecimal.
            let number = rest.iter().flat_map(|byte| [byte >> 4, byte & 15]);
            let hex = number.filter_map(|digit| char::from_digit(digit.into(), 16));
            Some(plain(&format!("{name} {}", hex.collect::<String>())))
        }
    }
}

/// unix(7): no name at all, a name that begins with a NUL (shown as `@`), or a path that ends at a
/// NUL or with the address.
fn unix(rest: &[u8], base: &[u8]) -> Address {
    if let Some(abstract_name) = rest.strip_prefix(b"\0") {
        return plain_bytes([b"unix @".as_slice(), abstract_name].concat());
    }
    let end = rest
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(rest.len());
    if end == 0 {
        return plain("unix unnamed");
    }
    let file = path::joined(base, &rest[..end]);
    Address {
        text: Text::from([b"unix ".as_slice(), file.as_bytes()].concat()),
        path: Some(file),
    }
}

fn plain(text: &str) -> Address {
    plain_bytes(text.into())
}

fn plain_bytes(text: Vec<u8>) -> Address {
    Address {
        text: Text::from(text),
        path: None,
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn addresses_read_as_people_write_them() {
        let text = |bytes: &[u8]| parse(bytes, b"/run").map(|address| address.text.to_string());
        assert_eq!(
            text(b"\x02\0\0\x50\x7f\0\0\x01").as_deref(),
            Some("inet 127.0.0.1:80")
        );
        assert_eq!(text(b"\x01\0\0name").as_deref(), Some("unix @name"));
        assert_eq!(
            text(b"\x01\0x.sock\0junk").as_deref(),
            Some("unix /run/x.sock")
        );
        assert_eq!(text(b"\x01\0").as_deref(), Some("unix unnamed"));
        assert_eq!(text(b"\x02\0\0"), None);
    }
}
