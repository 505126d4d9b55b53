//! Detection of gRPC requests, for layers that see both HTTP and gRPC.
//!
//! Follows [gRPC over HTTP/2](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md), "Requests": the
//! content type alone identifies gRPC.

use http::{HeaderMap, header};

/// Returns `true` for the headers of a gRPC request.
///
/// Every content type that starts with `application/grpc` counts, because tonic serves all of them.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let start = b"application/grpc";
    let kind = headers.get(header::CONTENT_TYPE).map(|kind| kind.as_bytes()).unwrap_or_default();
    kind.get(..start.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_is_known_by_its_content_type() {
        let grpc = |kind: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, kind.parse().unwrap());
            is_grpc(&headers)
        };
        for kind in
            ["application/grpc", "application/grpc+proto", "Application/gRPC;v=1", "application/grpc-web"]
        {
            assert!(grpc(kind), "{kind}");
        }
        for kind in ["", "application/grp", "application/json", "text/plain"] {
            assert!(!grpc(kind), "{kind}");
        }
        assert!(!is_grpc(&HeaderMap::new()));
    }
}
