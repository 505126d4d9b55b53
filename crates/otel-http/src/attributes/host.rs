//! Hosts and ports out of URIs and headers.
//!
//! Follows the HTTP semantic conventions, "Setting `server.address` and `server.port` attributes", and RFC 3986,
//! section 3.2.2, for what a host may look like.

/// The longest host name that DNS allows, in bytes.
const LONGEST: usize = 255;

/// Splits `host[:port]`, `[v6][:port]`, or a bare IPv6 address. Credentials before an `@` are left out.
///
/// `None` for what cannot be a host: it came from a stranger.
pub(crate) fn split(authority: &str) -> Option<(&str, Option<u16>)> {
    let authority = authority.trim();
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
    } else {
        match authority.split_once(':') {
            Some((_, rest)) if rest.contains(':') => (authority, None),
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        }
    };
    if host.is_empty() || host.len() > LONGEST || !host.bytes().all(is_host_byte) {
        return None;
    }
    match port {
        None | Some("") => Some((host, None)),
        Some(port) => port.parse().ok().map(|port| (host, Some(port))),
    }
}

fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:".contains(&byte)
}

/// The port of a scheme where a URI names none.
pub(crate) fn default_port(scheme: &str) -> u16 {
    if scheme == "https" { 443 } else { 80 }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        ] {
            assert_eq!(split(given), wanted, "{given}");
        }
        assert_eq!(split(&"x".repeat(256)), None);
    }
}
