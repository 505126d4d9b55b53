//! The end of spans of event streams, upgrades and responses with trailers.

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, Version};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, StreamBody};
use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt;
use otel_http::EndOn;
use otel_testing::Recorder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{self, call, serve, server_layer};

fn events(kind: &'static str) -> Response<Body> {
    let frames = futures_util::stream::iter((0..2).map(|_| {
        let span = Context::current().span().span_context().span_id();
        Ok::<_, std::io::Error>(Frame::data(Bytes::from(format!("{span}\n"))))
    }));
    Response::builder().header("content-type", kind).body(Body::new(StreamBody::new(frames))).unwrap()
}

#[tokio::test]
async fn an_event_stream_ends_at_its_head_unless_the_body_is_chosen() {
    for (end_on, kind, at_head) in [
        (EndOn::Auto, "text/event-stream; charset=utf-8", true),
        (EndOn::Auto, "Text/Event-Stream", true),
        (EndOn::Auto, "text/plain", false),
        (EndOn::Body, "text/event-stream", false),
        (EndOn::Head, "text/plain", true),
    ] {
        let recorder = Recorder::new();
        let layer = server_layer(&recorder).with_end_on(end_on);
        let request = Request::get("/").body(Empty::new()).unwrap();
        let response = call(&layer, request, move |_| async move { events(kind) }).await;
        assert_eq!(recorder.spans().len(), usize::from(at_head), "{end_on:?} {kind}");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let own = recorder.span("GET").span_context.span_id();
        assert_eq!(body, format!("{own}\n{own}\n"), "the context is current while the body is polled");
        recorder.assert_clean();
    }
}

#[tokio::test]
async fn a_span_lasts_to_the_trailers() {
    let recorder = Recorder::new();
    let response = call(&server_layer(&recorder), Request::get("/").body(Empty::new()).unwrap(), |_| async {
        let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), "7".parse().unwrap())]);
        let frames = [Ok::<_, std::io::Error>(Frame::data(Bytes::from("x"))), Ok(Frame::trailers(trailers))];
        Response::new(Body::new(StreamBody::new(futures_util::stream::iter(frames))))
    });
    let mut body = response.await.into_body();
    body.frame().await.unwrap().unwrap();
    assert!(recorder.spans().is_empty());
    // hyper drops a body after its trailers without polling it again.
    assert_eq!(body.frame().await.unwrap().unwrap().into_trailers().unwrap()["x-sum"], "7");
    drop(body);
    let tree = recorder.tree();
    assert!(!tree.contains("error.type"), "{tree}");
    recorder.assert_clean();
}

#[tokio::test]
async fn a_switch_of_protocols_ends_at_the_head_and_still_works() {
    let recorder = Recorder::new();
    let app = Router::new().route(
        "/",
        get(|mut request: axum::extract::Request| async move {
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let mut io = hyper_util::rt::TokioIo::new(upgrade.await.unwrap());
                let mut ping = [0; 4];
                io.read_exact(&mut ping).await.unwrap();
                io.write_all(&ping).await.unwrap();
            });
            let response =
                Response::builder().status(101).header("connection", "upgrade").header("upgrade", "echo");
            response.body(Body::empty()).unwrap()
        }),
    );
    let address = serve(app.layer(server_layer(&recorder))).await;
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    socket
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n")
        .await
        .unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101"));
    recorder.wait_for_spans(1).await;
    socket.write_all(b"ping").await.unwrap();
    let mut pong = [0; 4];
    socket.read_exact(&mut pong).await.unwrap();
    assert_eq!(&pong, b"ping");
    assert!(recorder.tree().contains("http.response.status_code: 101"));
    recorder.assert_clean();
}

#[tokio::test]
async fn both_versions_answer_as_they_would_without_the_layer() {
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let recorder = Recorder::new();
        let routes =
            || Router::new().route("/", get(|| async { "answer" })).route("/empty", get(|| async {}));
        let (bare, wrapped) = (serve(routes()).await, serve(routes().layer(server_layer(&recorder))).await);
        let client = support::client(version);
        for path in ["/", "/empty", "/missing"] {
            let mut answers = Vec::new();
            for address in [bare, wrapped] {
                let request = support::get(address, path).version(version).body(Empty::new()).unwrap();
                let (head, body) = client.request(request).await.unwrap().into_parts();
                let mut headers = head.headers;
                headers.remove("date");
                answers.push((head.status, headers, body.collect().await.unwrap().to_bytes()));
            }
            assert_eq!(answers[0], answers[1], "{path}");
        }
        recorder.wait_for_spans(3).await;
        recorder.assert_clean();
        let wanted = if version == Version::HTTP_2 { "2" } else { "1.1" };
        let durations = recorder.metric("http.server.request.duration");
        assert_eq!(durations.with("network.protocol.version", wanted).count(), 3);
    }
}
