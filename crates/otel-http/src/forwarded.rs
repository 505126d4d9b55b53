//! The proxies that a server trusts, and parsing of the forwarding headers that they write.
//!
//! Follows [RFC 7239](https://www.rfc-editor.org/rfc/rfc7239) (`Forwarded`), the de-facto headers `X-Forwarded-For`,
//! `X-Forwarded-Host` and `X-Forwarded-Proto`, and the [HTTP semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/http/http-spans/) for `client.address`, `server.address`
//! and `url.scheme`.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use http::HeaderMap;
use ipnet::IpNet;

use otel_request::split_host;

/// Limit of proxies that are read, the nearest first; further entries are ignored.
const LONGEST_CHAIN: usize = 32;

/// The forwarding headers that the proxies of a server write. A server reads these alone, because proxies pass other
/// headers on as their callers wrote them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForwardingHeaders {
    /// `Forwarded`, from [RFC 7239](https://www.rfc-editor.org/rfc/rfc7239).
    Forwarded,
    /// `X-Forwarded-For`, `X-Forwarded-Host` and `X-Forwarded-Proto`.
    XForwarded,
}

/// The proxies whose forwarding headers a server believes.
#[derive(Clone, Debug)]
pub(crate) struct TrustedProxies {
    pub(crate) headers: ForwardingHeaders,
    pub(crate) networks: Arc<[IpNet]>,
}

/// The client, host and scheme of the original request, as reported by trusted proxies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Forwarded {
    pub(crate) client: Option<IpAddr>,
    pub(crate) client_port: Option<u16>,
    pub(crate) host: Option<String>,
    pub(crate) scheme: Option<&'static str>,
}

#[derive(Default)]
struct Hop<'a> {
    client: Option<&'a str>,
    host: Option<&'a str>,
    scheme: Option<&'a str>,
}

impl TrustedProxies {
    fn contains(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&address.to_canonical()))
    }
}

/// Reads the forwarding headers of a request from `peer`. Returns `None` unless `peer` is trusted.
///
/// Each proxy appends an entry, so the entries are read from the last one: the first address that is not a trusted
/// proxy's is the client. Entries before it were written by untrusted peers.
pub(crate) fn read(headers: &HeaderMap, peer: Option<IpAddr>, trusted: &TrustedProxies) -> Option<Forwarded> {
    if !peer.is_some_and(|peer| trusted.contains(peer)) {
        return None;
    }
    let mut found = Forwarded::default();
    for hop in hops(headers, trusted.headers) {
        // A farther trusted proxy overwrites the host and scheme of a nearer one: the farthest saw the client's own.
        if let Some(name) = hop.host.filter(|name| split_host(name).is_some()) {
            found.host = Some(name.to_owned());
        }
        found.scheme = hop.scheme.and_then(scheme).or(found.scheme);
        let Some((address, port)) = hop.client.and_then(node) else {
            // An obfuscated or missing identifier: the next hop's trust cannot be verified.
            break;
        };
        found.client = Some(address);
        found.client_port = port;
        if !trusted.contains(address) {
            break;
        }
    }
    Some(found)
}

/// Returns the hops, the nearest first.
fn hops(headers: &HeaderMap, kind: ForwardingHeaders) -> Vec<Hop<'_>> {
    let last = |name: &'static str| {
        let values = headers.get_all(name).iter().rev().filter_map(|value| value.to_str().ok());
        // Splitting at every comma is safe: node names, hosts and schemes contain no quoted comma.
        let items = values.flat_map(|value| value.rsplit(',').map(str::trim));
        items.filter(|item| !item.is_empty()).take(LONGEST_CHAIN)
    };
    if kind == ForwardingHeaders::Forwarded {
        return last("forwarded").map(parse_element).collect();
    }
    // Aligned at their ends, because not every proxy appends to each list and the lengths may differ.
    let (mut clients, mut hosts, mut schemes) =
        (last("x-forwarded-for"), last("x-forwarded-host"), last("x-forwarded-proto"));
    std::iter::from_fn(|| {
        let hop = Hop { client: clients.next(), host: hosts.next(), scheme: schemes.next() };
        (hop.client.is_some() || hop.host.is_some() || hop.scheme.is_some()).then_some(hop)
    })
    .collect()
}

fn parse_element(element: &str) -> Hop<'_> {
    let mut hop = Hop::default();
    for pair in element.split(';') {
        let Some((name, value)) = pair.split_once('=') else { continue };
        let value = value.trim().trim_matches('"');
        let name = name.trim();
        if name.eq_ignore_ascii_case("for") {
            hop.client = Some(value);
        } else if name.eq_ignore_ascii_case("host") {
            hop.host = Some(value);
        } else if name.eq_ignore_ascii_case("proto") {
            hop.scheme = Some(value);
        }
    }
    hop
}

fn scheme(text: &str) -> Option<&'static str> {
    ["http", "https"].into_iter().find(|known| known.eq_ignore_ascii_case(text))
}

/// Parses an address with an optional port, which is obfuscated if it begins with `_` ([RFC 7239, section
/// 6](https://www.rfc-editor.org/rfc/rfc7239#section-6)). Returns `None` for `unknown` and obfuscated identifiers.
fn node(text: &str) -> Option<(IpAddr, Option<u16>)> {
    let (address, port) =
        if let Some((address, rest)) = text.strip_prefix('[').and_then(|text| text.split_once(']')) {
            let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) };
            (address.parse::<Ipv6Addr>().ok()?.into(), port)
        } else if let Ok(address) = text.parse() {
            // Proxies write IPv6 addresses without brackets into `X-Forwarded-For`.
            (address, None)
        } else {
            let (address, port) = text.split_once(':')?;
            (address.parse().ok()?, Some(port))
        };
    match port {
        Some(port) if !port.starts_with('_') => Some((address, Some(port.parse().ok()?))),
        _ => Some((address, None)),
    }
}

#[cfg(test)]
mod tests;
