//! What proxies say of a request that they forwarded, believed only where they are trusted.
//!
//! Follows RFC 7239 (`Forwarded`), the customary `X-Forwarded-For`, `-Host` and `-Proto`, and the [HTTP semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/http/http-spans/) on `client.address`, `server.address` and `url.scheme`.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use ipnet::IpNet;

use crate::attributes::host;

/// No chain of proxies is longer; what lies beyond is not looked at.
const LONGEST_CHAIN: usize = 32;

/// What trusted proxies say of the request as they received it.
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

/// Reads the forwarding headers of a request that came from `peer`, where `peer` is trusted.
///
/// Each proxy appends, so the hops are walked from the last: the first address that is not a trusted proxy's is
/// the client. What stands before it was written by strangers.
pub(crate) fn read(headers: &HeaderMap, peer: Option<IpAddr>, trusted: &[IpNet]) -> Option<Forwarded> {
    let is_trusted = |address: IpAddr| trusted.iter().any(|net| net.contains(&address.to_canonical()));
    if trusted.is_empty() || !peer.is_some_and(is_trusted) {
        return None;
    }
    let mut found = Forwarded::default();
    for hop in hops(headers) {
        // The host and the scheme that the nearest trusted proxies saw; the farthest of them saw the client's.
        if let Some(name) = hop.host.filter(|name| host::split(name).is_some()) {
            found.host = Some(name.to_owned());
        }
        found.scheme = hop.scheme.and_then(scheme).or(found.scheme);
        let Some((address, port)) = hop.client.and_then(node) else {
            // An obfuscated or missing identifier: whoever is before it cannot be checked.
            break;
        };
        found.client = Some(address);
        found.client_port = port;
        if !is_trusted(address) {
            break;
        }
    }
    Some(found)
}

/// The last hops, the nearest first.
fn hops(headers: &HeaderMap) -> Vec<Hop<'_>> {
    let last = |name: &'static str| {
        let values = headers.get_all(name).iter().rev().filter_map(|value| value.to_str().ok());
        // A quoted comma does not occur in what is read here: node names, hosts and schemes have none.
        let items = values.flat_map(|value| value.rsplit(',').map(str::trim));
        items.filter(|item| !item.is_empty()).take(LONGEST_CHAIN)
    };
    let standard: Vec<_> = last("forwarded").map(parse_element).collect();
    if !standard.is_empty() {
        return standard;
    }
    // The lists need not be of one length, for not every proxy appends to each: they are aligned at their end.
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

/// An address with or without a port. `unknown` and obfuscated names are none.
fn node(text: &str) -> Option<(IpAddr, Option<u16>)> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some((address.ip(), Some(address.port())));
    }
    text.trim_start_matches('[').trim_end_matches(']').parse().ok().map(|address| (address, None))
}

#[cfg(test)]
mod tests;
