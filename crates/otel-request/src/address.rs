//! The addresses of peers, and IP addresses as attributes. IPv4 avoids `core::fmt`, because a server formats an address per span.
//!
//! Follows the [general semantic conventions,
//! `network.peer.address`](https://opentelemetry.io/docs/specs/semconv/general/attributes/). An IPv4-mapped IPv6
//! address is formatted as its IPv4 address.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Length of the longest text form of an IPv6 address
/// ([RFC 4291, section 2.2](https://www.rfc-editor.org/rfc/rfc4291#section-2.2)).
const LONGEST: usize = 45;

/// A request extension with the address of the peer, for servers that know it and are not integrated by a feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a plain value that a server inserts")]
pub struct PeerAddr(pub SocketAddr);

/// Formats an IP address with a single allocation. An IPv4-mapped IPv6 address is formatted as IPv4.
#[must_use]
pub fn format_ip(address: IpAddr) -> Arc<str> {
    let mut text = [0; LONGEST];
    let length = match address.to_canonical() {
        IpAddr::V4(address) => {
            let mut at = 0;
            for (index, octet) in address.octets().into_iter().enumerate() {
                if index > 0 {
                    text[at] = b'.';
                    at += 1;
                }
                for digit in [octet / 100, octet / 10 % 10, octet % 10].into_iter().skip(leading_zeros(octet))
                {
                    text[at] = b'0' + digit;
                    at += 1;
                }
            }
            at
        }
        IpAddr::V6(address) => {
            let mut rest = &mut text[..];
            // Cannot fail: the buffer holds the longest address.
            let _ = write!(rest, "{address}");
            LONGEST - rest.len()
        }
    };
    // Always valid UTF-8: the buffer contains only digits, hexadecimal letters, dots and colons.
    str::from_utf8(&text[..length]).unwrap_or_default().into()
}

fn leading_zeros(octet: u8) -> usize {
    match octet {
        0..10 => 2,
        10..100 => 1,
        100.. => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn each_octet_is_written_as_it_should_be() {
        for octet in 0..=u8::MAX {
            let address = Ipv4Addr::new(octet, 255 - octet, 0, octet);
            assert_eq!(&*format_ip(address.into()), address.to_string());
            assert_eq!(&*format_ip(address.to_ipv6_mapped().into()), address.to_string());
        }
    }

    #[test]
    fn longer_addresses_fit() {
        for text in
            ["::", "::1", "2001:db8::17", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "64:ff9b::c000:221"]
        {
            assert_eq!(&*format_ip(text.parse().unwrap()), text);
        }
    }
}
