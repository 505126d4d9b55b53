//! Requests of other sites, and the headers of the page.

use bytes::Bytes;
use http::{Request, StatusCode, header};
use otel_waterfall::Server;

use crate::client::{TRACES, export, frame, get, send, span, start};

#[tokio::test]
async fn another_host_or_origin_reads_and_writes_nothing() {
    let running = start(Server::new()).await;
    let own = running.http.to_string();
    for (host, origin) in
        [("evil.example", None), (&*own, Some("http://evil.example")), (&*own, Some("null"))]
    {
        for path in ["/", "/changes?after=0", "/trace/00000000000000000000000000000001"] {
            let mut request = Request::get(path).header(header::HOST, host);
            if let Some(origin) = origin {
                request = request.header(header::ORIGIN, origin);
            }
            let answer = send(running.http, request.body(Bytes::new()).unwrap(), false).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{host} {origin:?} {path}");
            assert!(answer.body.len() < 100 && answer.headers.get("access-control-allow-origin").is_none());
        }
        let mut request = Request::post("/v1/traces")
            .header(header::HOST, host)
            .header("content-type", "application/x-protobuf");
        if let Some(origin) = origin {
            request = request.header(header::ORIGIN, origin);
        }
        let message = Bytes::from(export(vec![span(1, 1, "x")]));
        assert_eq!(
            send(running.http, request.body(message).unwrap(), false).await.status,
            StatusCode::FORBIDDEN
        );
    }
    // The authority of HTTP/2 is checked as well.
    let request =
        Request::post(format!("http://evil.example:1{TRACES}")).header("content-type", "application/grpc");
    let message = Bytes::from(frame(0, &export(vec![span(1, 1, "x")])));
    assert_eq!(send(running.grpc, request.body(message).unwrap(), true).await.status, StatusCode::FORBIDDEN);
    assert!(running.server.facts().starts_with("0 spans received"));
}

#[tokio::test]
async fn the_page_has_a_strict_policy() {
    let running = start(Server::new()).await;
    assert!(running.http.ip().is_loopback() && running.grpc.ip().is_loopback());
    let page = get(running.http, "/").await;
    assert_eq!(
        (page.status, &page.headers["x-content-type-options"]),
        (StatusCode::OK, &"nosniff".parse().unwrap())
    );
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(
        policy.starts_with("default-src 'none'; script-src 'sha256-") && !policy.contains("unsafe"),
        "{policy}"
    );
    assert!(policy.contains("connect-src 'self'") && policy.ends_with("frame-ancestors 'none'"));
    assert_eq!(get(running.http, "/other").await.status, StatusCode::NOT_FOUND);
}
