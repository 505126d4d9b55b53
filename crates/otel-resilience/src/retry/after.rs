//! The delay for which a response asks.
//!
//! Follows [RFC 9110](https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3), "Retry-After", and [gRPC's retry
//! design](https://github.com/grpc/proposal/blob/master/A6-client-retries.md#pushback), "Pushback".

use std::time::{Duration, SystemTime};

use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderName};

static PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// The request of a server for a delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushback {
    Delay(Duration),
    /// The server asks not to retry.
    Never,
}

/// Returns the delay of `Retry-After`, in seconds or as a date. Other values are ignored.
pub(super) fn from_headers(headers: &HeaderMap, now: SystemTime) -> Option<Pushback> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More than a u64 of seconds is a very long time as well.
        return Some(Pushback::Delay(Duration::from_secs(text.parse().unwrap_or(u64::MAX))));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(Pushback::Delay(date.duration_since(now).unwrap_or_default()))
}

/// Returns the delay of gRPC's pushback. A negative value, or one that is no number, asks not to retry.
pub(super) fn from_grpc_headers(headers: &HeaderMap) -> Option<Pushback> {
    let text = headers.get(&PUSHBACK)?;
    let delay = text.to_str().ok().and_then(|text| text.parse::<u32>().ok());
    Some(delay.map_or(Pushback::Never, |ms| Pushback::Delay(Duration::from_millis(ms.into()))))
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn headers(name: &'static str, value: &[u8]) -> HeaderMap {
        let value = http::HeaderValue::from_bytes(value).unwrap();
        HeaderMap::from_iter([(HeaderName::from_static(name), value)])
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        // Sun, 06 Nov 1994 08:49:37 GMT, the example of the RFC.
        let now = UNIX_EPOCH + Duration::from_secs(784_111_777 - 5);
        for (text, seconds) in [
            ("0", Some(0)),
            ("120", Some(120)),
            (" 7 ", Some(7)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(5)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(5)),
            ("Sun, 06 Nov 1994 08:49:30 GMT", Some(0)),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("1.5", None),
            ("soon", None),
            ("Sun, 99 Nov 1994 08:49:37 GMT", None),
        ] {
            let delay = seconds.map(|seconds| Pushback::Delay(Duration::from_secs(seconds)));
            assert_eq!(from_headers(&headers("retry-after", text.as_bytes()), now), delay, "{text:?}");
        }
        assert_eq!(from_headers(&headers("retry-after", b"\xff"), now), None);
        assert_eq!(from_headers(&HeaderMap::new(), now), None);
    }

    #[test]
    fn a_pushback_that_is_no_delay_forbids_retries() {
        let read = |text: &str| from_grpc_headers(&headers("grpc-retry-pushback-ms", text.as_bytes()));
        assert_eq!(read("25"), Some(Pushback::Delay(Duration::from_millis(25))));
        for text in ["-1", "", "soon", "99999999999999"] {
            assert_eq!(read(text), Some(Pushback::Never), "{text:?}");
        }
        assert_eq!(from_grpc_headers(&HeaderMap::new()), None);
    }
}
