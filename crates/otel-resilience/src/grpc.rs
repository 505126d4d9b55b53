//! The status of a gRPC response, as far as its headers show it.
//!
//! Follows [gRPC over HTTP/2](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md), "Responses": a response
//! without messages has its status in the headers. One that comes with trailers, after the head, is not seen.

use http::{HeaderMap, HeaderName, HeaderValue, Response, header};

static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// The names of the statuses by their code.
const NAMES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

const UNKNOWN: usize = 2;
pub(crate) const DEADLINE_EXCEEDED: usize = 4;
pub(crate) const RESOURCE_EXHAUSTED: usize = 8;
pub(crate) const UNAVAILABLE: usize = 14;

/// Returns the status in the headers of a response. An invalid one is UNKNOWN.
#[inline]
pub(crate) fn code_from_headers(headers: &HeaderMap) -> Option<usize> {
    headers.get(&GRPC_STATUS).map(|status| {
        let code = status.to_str().ok().and_then(|text| text.parse().ok());
        code.filter(|code| *code < NAMES.len()).unwrap_or(UNKNOWN)
    })
}

pub(crate) fn name(code: usize) -> &'static str {
    NAMES.get(code).copied().unwrap_or("UNKNOWN")
}

/// Returns true for the statuses that the server is responsible for, but UNIMPLEMENTED, which a caller can provoke.
pub(crate) fn is_server_error(code: usize) -> bool {
    matches!(code, UNKNOWN | DEADLINE_EXCEEDED | 13 | UNAVAILABLE | 15)
}

/// Returns a response without messages.
#[cold]
pub(crate) fn response<B: Default>(code: usize, message: &'static str) -> Response<B> {
    let mut response = Response::new(B::default());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(&GRPC_STATUS, HeaderValue::from(code));
    headers.insert("grpc-message", HeaderValue::from_static(message));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_status_is_unknown() {
        let read = |text: &str| {
            let headers = HeaderMap::from_iter([(GRPC_STATUS.clone(), text.parse().unwrap())]);
            code_from_headers(&headers).map(name)
        };
        assert_eq!(read("0"), Some("OK"));
        assert_eq!(read("14"), Some("UNAVAILABLE"));
        for text in ["17", "-1", "", "OK", "99999999999999999999999"] {
            assert_eq!(read(text), Some("UNKNOWN"), "{text:?}");
        }
        assert_eq!(code_from_headers(&HeaderMap::new()), None);
        let errors: Vec<_> = (0..17).filter(|code| is_server_error(*code)).collect();
        assert_eq!(errors, [2, 4, 13, 14, 15]);
    }
}
