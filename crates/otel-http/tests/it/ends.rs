//! The end of a request by its response: heads without a body, bodies that are too short, and ends chosen by the response.

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Method, Request, Response, Version};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, StreamBody};
use otel_http::EndOn;
use otel_testing::Recorder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::{Layer, ServiceExt};

use crate::cancellation::assert_one;
use crate::support::{self, call, client_layer, serve, server_layer};

/// A body that does not know that it is empty, as proxies make them.
fn unaware() -> Body {
    Body::from_stream(stream::empty::<Result<Bytes, std::io::Error>>())
}

fn endless() -> Body {
    Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>())
}

/// Sends a request in text form and returns the complete response.
async fn exchange(address: std::net::SocketAddr, request: &str) -> String {
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    socket.read_to_string(&mut response).await.unwrap();
    response
}

#[tokio::test]
async fn a_head_that_allows_no_body_is_the_end_on_both_sides() {
    for (method, status, error) in [
        (Method::HEAD, 200, None),
        (Method::CONNECT, 200, None),
        (Method::GET, 103, None),
        (Method::GET, 204, None),
        (Method::GET, 304, None),
        (Method::GET, 200, Some("cancelled")),
        (Method::CONNECT, 203, None),
        (Method::CONNECT, 302, Some("cancelled")),
    ] {
        for end_on in [EndOn::Auto, EndOn::Body] {
            let recorder = Recorder::new();
            let layer = server_layer(&recorder).with_end_on(end_on);
            let request = Request::builder().method(&method).uri("/").body(Empty::new()).unwrap();
            let response = call(&layer, request, move |_| async move {
                Response::builder().status(status).body(endless()).unwrap()
            });
            let response = response.await;
            assert_eq!(recorder.spans().len(), usize::from(error.is_none()), "{method} {status}");
            drop(response);
            assert_one(&recorder, error);

            let recorder = Recorder::new();
            let layer = client_layer(&recorder).with_end_on(end_on);
            let client = layer.layer(tower::service_fn(move |_: Request<Empty<Bytes>>| async move {
                Ok::<_, std::io::Error>(Response::builder().status(status).body(endless()).unwrap())
            }));
            let request = Request::builder().method(&method).uri("http://api.example/");
            let response = client.oneshot(request.body(Empty::new()).unwrap()).await.unwrap();
            assert_eq!(recorder.spans().len(), usize::from(error.is_none()), "{method} {status}");
            drop(response);
            assert_one(&recorder, None);
        }
    }
}

#[tokio::test]
async fn a_response_without_a_body_is_no_cancellation_on_a_socket() {
    for version in [Version::HTTP_11, Version::HTTP_2] {
        for (method, status) in
            [(Method::GET, 204), (Method::GET, 304), (Method::GET, 205), (Method::HEAD, 200)]
        {
            let recorder = Recorder::new();
            let app = Router::new()
                .fallback(move || async move { Response::builder().status(status).body(unaware()).unwrap() });
            let address = serve(app.layer(server_layer(&recorder))).await;
            let request = Request::builder().method(&method).uri(format!("http://{address}/"));
            let request = request.version(version).body(Empty::new()).unwrap();
            let response = support::client(version).request(request).await.unwrap();
            assert_eq!(response.status(), status);
            response.into_body().collect().await.unwrap();
            recorder.wait_for_spans(1).await;
            assert_one(&recorder, None);
        }
    }
}

#[tokio::test]
async fn a_body_that_ends_before_its_declared_length_is_incomplete() {
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let recorder = Recorder::new();
        let app = Router::new().fallback(|| async {
            let body = stream::iter([Ok::<_, std::io::Error>(Bytes::from("short"))]);
            Response::builder().header("content-length", "10").body(Body::from_stream(body)).unwrap()
        });
        let address = serve(app.layer(server_layer(&recorder))).await;
        let request = support::get(address, "/").version(version).body(Empty::new()).unwrap();
        // Over HTTP/1.1 the connection can break before the head is sent.
        let failed = match support::client(version).request(request).await {
            Ok(response) => response.into_body().collect().await.is_err(),
            Err(_) => true,
        };
        assert!(failed, "the reader sees the failure too");
        recorder.wait_for_spans(1).await;
        assert_one(&recorder, Some("body_incomplete"));
    }
}

#[tokio::test]
async fn a_client_whose_body_ends_early_is_incomplete() {
    for (declared, error) in [("6", None), ("7", Some("body_incomplete"))] {
        let recorder = Recorder::new();
        let layer = client_layer(&recorder).with_end_on(EndOn::Body);
        let client = layer.layer(tower::service_fn(move |_: Request<Empty<Bytes>>| async move {
            let frames = stream::iter([Ok::<_, std::io::Error>(Frame::data(Bytes::from("answer")))]);
            let response = Response::builder().header("content-length", declared);
            Ok::<_, std::io::Error>(response.body(StreamBody::new(frames)).unwrap())
        }));
        let request = Request::get("http://api.example/").body(Empty::new()).unwrap();
        client.oneshot(request).await.unwrap().into_body().collect().await.unwrap();
        assert_one(&recorder, error);
    }
}

#[tokio::test]
async fn a_switch_of_protocols_ends_at_the_head_whatever_its_body_is() {
    let recorder = Recorder::new();
    let app = Router::new().fallback(|| async {
        let head = Response::builder().status(101).header("connection", "upgrade").header("upgrade", "x");
        head.body(endless()).unwrap()
    });
    let address = serve(app.layer(server_layer(&recorder))).await;
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    socket
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n")
        .await
        .unwrap();
    socket.read_exact(&mut [0; 12]).await.unwrap();
    recorder.wait_for_spans(1).await;
    assert_one(&recorder, None);
}

#[tokio::test]
async fn content_length_survives_the_layer() {
    let recorder = Recorder::new();
    let app = Router::new().fallback(|| async { "hello" });
    let address = serve(app.layer(server_layer(&recorder).with_body_sizes(true))).await;
    for method in ["GET", "HEAD"] {
        let response = exchange(address, &format!("{method} /")).await.to_lowercase();
        assert!(response.contains("content-length: 5"), "{response}");
        assert!(!response.contains("chunked"), "{response}");
    }
    recorder.wait_for_spans(2).await;
    recorder.assert_clean();
}

/// Long streams that are no event streams end at their head, chosen by the response.
fn by_content_type(head: &otel_http::ResponseHead<'_>) -> Option<EndOn> {
    let kind = head.headers.get("content-type")?.to_str().ok()?;
    assert!(kind != "panic", "in the hook");
    (kind.starts_with("application/x-ndjson") || kind.ends_with("stream=watch")).then_some(EndOn::Head)
}

#[tokio::test]
async fn the_end_can_be_chosen_by_the_response() {
    for (kind, at_head) in [
        ("application/x-ndjson", true),
        ("application/json;stream=watch", true),
        ("application/json", false),
        ("panic", false),
    ] {
        let answer = move || {
            let body = Body::from_stream(stream::iter(["{}\n"; 2]).map(Ok::<_, std::io::Error>));
            Response::builder().header("content-type", kind).body(body).unwrap()
        };
        let recorder = Recorder::new();
        let layer = server_layer(&recorder).with_end_on_by_response(by_content_type);
        let request = Request::get("/").body(Empty::new()).unwrap();
        let response = call(&layer, request, move |_| async move { answer() }).await;
        assert_eq!(recorder.spans().len(), usize::from(at_head), "{kind}");
        response.into_body().collect().await.unwrap();
        assert_one(&recorder, None);

        let recorder = Recorder::new();
        let layer = client_layer(&recorder).with_end_on(EndOn::Body).with_end_on_by_response(by_content_type);
        let client = layer.layer(tower::service_fn(move |_: Request<Empty<Bytes>>| async move {
            Ok::<_, std::io::Error>(answer())
        }));
        let request = Request::get("http://api.example/").body(Empty::new()).unwrap();
        let response = client.oneshot(request).await.unwrap();
        assert_eq!(recorder.spans().len(), usize::from(at_head), "{kind}");
        response.into_body().collect().await.unwrap();
        assert_one(&recorder, None);
    }
}

/// A gateway on axum and reqwest: the forwarded body does not know that it is empty.
#[cfg(feature = "reqwest")]
#[tokio::test]
async fn a_gateway_that_forwards_responses_without_a_body_records_no_failure() {
    let backend = serve(Router::new().route(
        "/{status}",
        axum::routing::get(|axum::extract::Path(status): axum::extract::Path<u16>| async move {
            let status = http::StatusCode::from_u16(status).unwrap();
            if status == 200 { (status, "x") } else { (status, "") }
        }),
    ))
    .await;
    let client = reqwest::Client::new();
    let gateway = move |request: axum::extract::Request| {
        let response = client.get(format!("http://{backend}{}", request.uri().path())).send();
        async move {
            let response = http::Response::<reqwest::Body>::from(response.await.unwrap());
            let status = response.status();
            let body = Body::from_stream(response.into_body().into_data_stream());
            Response::builder().status(status).body(body).unwrap()
        }
    };
    for status in [200, 204, 304, 205] {
        let recorder = Recorder::new();
        let app = Router::new().fallback(gateway.clone()).layer(server_layer(&recorder));
        let response = exchange(serve(app).await, &format!("GET /{status}")).await;
        assert!(response.starts_with(&format!("HTTP/1.1 {status}")), "{response}");
        recorder.wait_for_spans(1).await;
        assert_one(&recorder, None);
    }
}
