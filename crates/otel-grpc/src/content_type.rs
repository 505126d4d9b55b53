//! The content type of a response, which the server chose. That of a request decides nothing, because any caller can send it.
//!
//! Follows [gRPC over HTTP/2](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md), "Responses", and
//! [gRPC-Web](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md).

use http::{HeaderMap, header};

use crate::carrier::find;

/// The kind of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ContentType {
    Grpc,
    /// gRPC-Web: the trailers are the last message of the body.
    Web,
    /// gRPC-Web in Base64.
    WebText,
    Other,
}

impl ContentType {
    #[inline]
    pub(crate) fn from_headers(headers: &HeaderMap) -> Self {
        let text = find(headers, &header::CONTENT_TYPE).map(|value| value.as_bytes()).unwrap_or_default();
        let starts_with =
            |start: &[u8]| text.get(..start.len()).is_some_and(|given| given.eq_ignore_ascii_case(start));
        if !starts_with(b"application/grpc") {
            Self::Other
        } else if !starts_with(b"application/grpc-web") {
            Self::Grpc
        } else if starts_with(b"application/grpc-web-text") {
            Self::WebText
        } else {
            Self::Web
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_of_grpc_is_known_by_its_content_type() {
        let kind = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, text.parse().unwrap());
            ContentType::from_headers(&headers)
        };
        for text in ["application/grpc", "application/grpc+proto", "Application/gRPC;v=1"] {
            assert_eq!(kind(text), ContentType::Grpc, "{text}");
        }
        for text in ["", "application/grp", "application/json", "text/plain"] {
            assert_eq!(kind(text), ContentType::Other, "{text}");
        }
        assert_eq!(kind("application/grpc-web+proto"), ContentType::Web);
        assert_eq!(kind("application/gRPC-web-text"), ContentType::WebText);
        assert_eq!(ContentType::from_headers(&HeaderMap::new()), ContentType::Other);
    }
}
