//! The check of `Host` and `Origin`, so that no web page in the user's browser can read from the server or write to it.
//!
//! A page of another site reaches 127.0.0.1 in two ways: directly, then its browser sends an `Origin`, or under a name
//! of its own that resolves to 127.0.0.1 (DNS rebinding), then the `Host` has that name.

use http::{HeaderMap, Uri, header};

/// Returns the reason to refuse a request, if there is one.
pub(super) fn refusal(uri: &Uri, headers: &HeaderMap) -> Option<&'static str> {
    // RFC 9112, section 3.2: such a request is refused.
    if headers.get_all(header::HOST).iter().nth(1).is_some() {
        return Some("there is more than one Host");
    }
    // HTTP/2 has the authority in the URI.
    let host = match headers.get(header::HOST) {
        Some(host) => host.to_str().ok(),
        None => uri.authority().map(http::uri::Authority::as_str),
    };
    let Some(host) = host.filter(|host| is_loopback(host)) else {
        return Some("the Host is not 127.0.0.1, [::1] or localhost");
    };
    let origins = headers.get_all(header::ORIGIN);
    let is_same =
        |origin: &str| origin.strip_prefix("http://").is_some_and(|origin| origin.eq_ignore_ascii_case(host));
    if origins.iter().any(|origin| !origin.to_str().is_ok_and(is_same)) {
        return Some("the Origin is another site");
    }
    None
}

/// Returns true for the names of this machine, with any port, because ports can be forwarded.
fn is_loopback(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, port),
        _ => (host, "0"),
    };
    let is_name = ["127.0.0.1", "localhost", "[::1]"].iter().any(|known| name.eq_ignore_ascii_case(known));
    is_name && port.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn refused(host: Option<&str>, origin: Option<&str>) -> Option<&'static str> {
        let mut headers = HeaderMap::new();
        for (name, value) in [(header::HOST, host), (header::ORIGIN, origin)] {
            if let Some(value) = value {
                headers.insert(name, HeaderValue::from_str(value).unwrap());
            }
        }
        refusal(&Uri::from_static("/"), &headers)
    }

    #[test]
    fn this_machine_is_accepted() {
        for host in ["127.0.0.1:4318", "localhost:4318", "LOCALHOST", "[::1]:4318", "[::1]", "127.0.0.1"] {
            assert_eq!(refused(Some(host), None), None, "{host}");
            assert_eq!(refused(Some(host), Some(&format!("http://{host}"))), None, "{host}");
        }
        assert_eq!(refusal(&Uri::from_static("http://localhost:4317/x"), &HeaderMap::new()), None);
    }

    #[test]
    fn other_hosts_are_refused() {
        for host in [
            "evil.example",
            "evil.example:4318",
            "127.0.0.1.evil.example",
            "localhost.evil.example:4318",
            "127.0.0.1:4318@evil.example",
            "127.0.0.1:",
            "127.0.0.1:99999",
            "127.0.0.2",
            "0.0.0.0:4318",
            "",
        ] {
            assert_eq!(
                refused(Some(host), None),
                Some("the Host is not 127.0.0.1, [::1] or localhost"),
                "{host}"
            );
        }
        assert!(refused(None, None).is_some());
    }

    #[test]
    fn other_origins_are_refused() {
        for origin in [
            "http://evil.example",
            "null",
            "https://127.0.0.1:4318",
            "http://127.0.0.1:3000",
            "http://localhost:4318",
            "http://127.0.0.1:4318.evil.example",
            "",
        ] {
            assert_eq!(
                refused(Some("127.0.0.1:4318"), Some(origin)),
                Some("the Origin is another site"),
                "{origin}"
            );
        }
    }

    #[test]
    fn a_second_host_is_refused() {
        let mut headers = HeaderMap::new();
        headers.append(header::HOST, HeaderValue::from_static("localhost"));
        assert_eq!(refusal(&Uri::from_static("/"), &headers), None);
        headers.append(header::HOST, HeaderValue::from_static("localhost"));
        assert_eq!(refusal(&Uri::from_static("/"), &headers), Some("there is more than one Host"));
    }

    #[test]
    fn a_second_origin_is_checked_as_well() {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("localhost"));
        headers.append(header::ORIGIN, HeaderValue::from_static("http://localhost"));
        headers.append(header::ORIGIN, HeaderValue::from_static("http://evil.example"));
        assert!(refusal(&Uri::from_static("/"), &headers).is_some());
    }
}
