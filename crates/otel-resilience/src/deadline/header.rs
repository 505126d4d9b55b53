//! The header that carries the time that is left.
//!
//! Follows [gRPC over HTTP/2](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md), "Timeout".

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use otel_request::parse_timeout;

static GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// The most digits of a value. gRPC permits eight; 8 digits of milliseconds are a day.
const MAX_DIGITS: usize = 8;

/// The header in which a deadline travels, as the time that is left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadlineHeader(Format);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Format {
    Grpc,
    Milliseconds(HeaderName),
}

impl DeadlineHeader {
    /// `grpc-timeout`: at most eight digits and a unit.
    #[must_use]
    pub fn grpc() -> Self {
        Self(Format::Grpc)
    }

    /// A header of HTTP whose value is a number of milliseconds, of at most eight digits. HTTP has no standard one.
    #[must_use]
    pub fn milliseconds(name: HeaderName) -> Self {
        Self(Format::Milliseconds(name))
    }

    pub(super) fn is_grpc(&self) -> bool {
        self.0 == Format::Grpc
    }

    /// Returns the time that is left by the headers. A value that is not valid, or one of several, is ignored.
    pub(super) fn read(&self, headers: &HeaderMap) -> Option<Duration> {
        let mut values = headers.get_all(self.name()).iter();
        let (value, None) = (values.next()?, values.next()) else { return None };
        match self.0 {
            Format::Grpc => {
                let (unit, digits) = value.as_bytes().split_last()?;
                parse_timeout(digits, *unit)
            }
            Format::Milliseconds(_) => parse_timeout(value.as_bytes(), b'm'),
        }
    }

    /// Writes the time that is left, rounded down. Less than a millisecond is written as zero for HTTP.
    pub(super) fn write(&self, left: Duration, headers: &mut HeaderMap) {
        const MOST: u64 = 99_999_999;
        let seconds = left.as_secs().min(MOST);
        // No sum is larger than a u64.
        let millis = seconds * 1_000 + u64::from(left.subsec_millis());
        let micros = seconds * 1_000_000 + u64::from(left.subsec_micros());
        let value = match self.0 {
            Format::Milliseconds(_) => Some(HeaderValue::from(millis.min(MOST))),
            Format::Grpc if micros <= MOST => with_unit(micros, b'u'),
            Format::Grpc if millis <= MOST => with_unit(millis, b'm'),
            Format::Grpc => with_unit(seconds, b'S'),
        };
        if let Some(value) = value {
            headers.insert(self.name(), value);
        }
    }

    fn name(&self) -> &HeaderName {
        match &self.0 {
            Format::Grpc => &GRPC_TIMEOUT,
            Format::Milliseconds(name) => name,
        }
    }
}

/// Returns a number of at most eight digits with its unit.
fn with_unit(mut number: u64, unit: u8) -> Option<HeaderValue> {
    let mut text = [unit; MAX_DIGITS + 1];
    let mut start = MAX_DIGITS;
    while let Some(digit) = start.checked_sub(1).and_then(|before| text.get_mut(before)) {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or_default();
        start -= 1;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    HeaderValue::from_bytes(text.get(start..)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, values: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, HeaderValue::from_bytes(value).unwrap());
        }
        headers
    }

    #[test]
    fn hostile_values_are_ignored() {
        let (grpc, http) =
            (DeadlineHeader::grpc(), DeadlineHeader::milliseconds(HeaderName::from_static("x-t")));
        let of = |header: &DeadlineHeader, name, text: &str| header.read(&headers(name, &[text.as_bytes()]));
        for text in ["", "m", "5", "5s", "-5m", "+5m", "1.5S", "100000000S", "5 m", "0x5m", "1e3m", "S5"] {
            assert_eq!(of(&grpc, "grpc-timeout", text), None, "{text:?}");
        }
        for text in ["", "5m", "-5", "+5", "1.5", "100000000", "5 ", "0x5", "1e3", "\u{665}"] {
            assert_eq!(of(&http, "x-t", text), None, "{text:?}");
        }
        assert_eq!(http.read(&headers("x-t", &[b"\xff"])), None);
        assert_eq!(http.read(&headers("x-t", &[b"5", b"7"])), None, "which of the two is meant is unknown");
        assert_eq!(http.read(&HeaderMap::new()), None);
        assert_eq!(of(&grpc, "grpc-timeout", "99999999H"), Some(Duration::from_secs(359_999_996_400)));
        assert_eq!(of(&http, "x-t", "0"), Some(Duration::ZERO));
        assert_eq!(of(&http, "x-t", "99999999"), Some(Duration::from_millis(99_999_999)));
    }

    #[test]
    fn a_value_is_read_as_it_was_written() {
        let http = DeadlineHeader::milliseconds(HeaderName::from_static("x-t"));
        for (left, grpc_text, http_text) in [
            (Duration::from_micros(1_500), "1500u", "1"),
            (Duration::from_nanos(999), "0u", "0"),
            (Duration::from_secs(99), "99000000u", "99000"),
            (Duration::from_secs(100), "100000m", "100000"),
            (Duration::from_secs(100_000), "100000S", "99999999"),
            (Duration::MAX, "99999999S", "99999999"),
        ] {
            for (header, name, text) in
                [(&DeadlineHeader::grpc(), "grpc-timeout", grpc_text), (&http, "x-t", http_text)]
            {
                let mut written = headers(name, &[b"old", b"older"]);
                header.write(left, &mut written);
                assert_eq!(written, headers(name, &[text.as_bytes()]));
                assert!(header.read(&written).unwrap() <= left, "{text}");
            }
        }
    }
}
