//! Parsing of hosts and ports from URIs and headers.
//!
//! Follows the [HTTP semantic conventions](https://opentelemetry.io/docs/specs/semconv/http/http-spans/), "Setting
//! `server.address` and `server.port` attributes", and [RFC 3986, section
//! 3.2.2](https://www.rfc-editor.org/rfc/rfc3986#section-3.2.2), for the characters of a host.

use std::borrow::Cow;
use std::sync::Arc;

use otel_operation::BoundedCache;

/// Limit in bytes of a host name, from [RFC 1035, section
/// 2.3.4](https://www.rfc-editor.org/rfc/rfc1035#section-2.3.4).
const LONGEST: usize = 255;

/// Limit in bytes of a host that is cached; longer ones are parsed each time.
const LONGEST_CACHED: usize = 128;

/// A parsed host.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Host {
    /// The name or the IP address, the latter without brackets.
    pub address: Arc<str>,
    /// The port, if the host names one.
    pub port: Option<u16>,
}

/// A cache of parsed hosts, because most servers are called by few names.
#[derive(Debug)]
pub struct HostCache(BoundedCache<Host>);

impl HostCache {
    /// Creates an empty cache for this number of hosts.
    #[must_use]
    pub fn new(bound: usize) -> Self {
        Self(BoundedCache::new(bound))
    }

    /// Parses `host[:port]`; returns `None` for input that is no host.
    ///
    /// Hosts with credentials are not cached; neither are further ones once the cache is full, because a host is untrusted
    /// input.
    #[must_use]
    pub fn parse(&self, authority: &str) -> Option<Cow<'_, Host>> {
        let parse = || split_host(authority).map(|(address, port)| Host { address: address.into(), port });
        if authority.len() > LONGEST_CACHED {
            return parse().map(Cow::Owned);
        }
        let make = || if authority.contains('@') { None } else { parse() };
        match self.0.get_or_insert_opt(authority, make) {
            Some(host) => Some(Cow::Borrowed(host)),
            None => parse().map(Cow::Owned),
        }
    }
}

/// Splits `host[:port]`, `[v6][:port]` or a bare IPv6 address. Credentials before an `@` are ignored.
///
/// Returns `None` for an invalid host or port, because the input is untrusted.
#[must_use]
pub fn split_host(authority: &str) -> Option<(&str, Option<u16>)> {
    // A single pass with a lookup table, because this may run for every span.
    let (mut colons, mut colon, mut at, mut brackets) = (0, 0, None, false);
    for (i, byte) in authority.bytes().enumerate() {
        match CLASS[usize::from(byte)] {
            Class::Host => {}
            Class::Colon => (colons, colon) = (colons + 1, i),
            Class::At => (colons, at) = (0, Some(i)),
            Class::Bracket => brackets = true,
            Class::Other => return None,
        }
    }
    let start = at.map_or(0, |at| at + 1);
    let (host, port) = if brackets {
        let (host, rest) = authority[start..].strip_prefix('[')?.split_once(']')?;
        if host.contains('[') || rest.contains(']') {
            return None;
        }
        (host, if rest.is_empty() { "" } else { rest.strip_prefix(':')? })
    } else if colons == 1 {
        (&authority[start..colon], &authority[colon + 1..])
    } else {
        (&authority[start..], "")
    };
    if host.is_empty() || host.len() > LONGEST {
        return None;
    }
    if port.is_empty() { Some((host, None)) } else { Some((host, Some(port.parse().ok()?))) }
}

/// The syntactic class of a byte of an authority.
#[derive(Clone, Copy)]
enum Class {
    Host,
    Colon,
    At,
    Bracket,
    Other,
}

static CLASS: [Class; 256] = {
    let mut classes = [Class::Other; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            b':' => Class::Colon,
            b'@' => Class::At,
            b'[' | b']' => Class::Bracket,
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => Class::Host,
            b'!' | b'$' | b'%'..=b'.' | b';' | b'=' | b'_' | b'~' => Class::Host,
            _ => Class::Other,
        };
        byte += 1;
    }
    classes
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_parses_beyond_its_bound_and_keeps_no_credentials() {
        let cache = HostCache::new(1);
        for text in ["user:secret@a.example:1", "b.example", "c.example:2", "b.example"] {
            let host = cache.parse(text).unwrap();
            let expected = split_host(text).unwrap();
            assert_eq!((&*host.address, host.port), expected);
        }
        assert!(matches!(cache.parse("b.example"), Some(Cow::Borrowed(_))));
        assert_eq!(format!("{cache:?}"), "HostCache(BoundedCache { used: 1, of: 1 })");
    }

    #[test]
    fn hosts_are_split_from_ports() {
        for (given, wanted) in [
            ("example.com", Some(("example.com", None))),
            ("example.com:8080", Some(("example.com", Some(8080)))),
            ("user:pw@example.com:1", Some(("example.com", Some(1)))),
            ("[::1]:9000", Some(("::1", Some(9000)))),
            ("[::1]", Some(("::1", None))),
            ("2001:db8::17", Some(("2001:db8::17", None))),
            ("example.com:", Some(("example.com", None))),
            ("example.com:99999", None),
            ("example.com:http", None),
            ("", None),
            (":80", None),
            ("[::1", None),
            ("[::1]x", None),
            ("two words", None),
            ("<script>", None),
            ("[::1]]", None),
            ("a[b", None),
        ] {
            assert_eq!(split_host(given), wanted, "{given}");
        }
        assert_eq!(split_host(&"x".repeat(256)), None);
    }
}
