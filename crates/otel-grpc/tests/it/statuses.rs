//! Statuses that are valid, missing or malformed, and malformed headers.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use opentelemetry::trace::{SpanId, SpanKind};
use otel_grpc::ClientService;
use otel_testing::Recorder;
use tonic::Code;
use tonic::body::Body;
use tonic::transport::{Channel, Server};

use crate::echo::{EchoClient, fail, repeat, say};
use crate::support::{
    NAMES, assert_call, assert_one, client, client_layer, drop_when_served, endpoint, listen, name, pair,
    serve, server_layer, spans_of,
};

#[tokio::test]
async fn each_status_is_told_by_a_reply_of_trailers_alone() {
    for (number, name) in (0..).zip(NAMES) {
        let recorder = Recorder::new();
        let answer = pair(&recorder).await.unary(fail(Code::from_i32(number))).await;
        assert_eq!(answer.map_or_else(|status| status.code(), |_| Code::Ok), Code::from_i32(number));
        assert_call(&recorder, name, name).await;
    }
}

#[tokio::test]
async fn each_status_is_told_by_the_trailers_after_messages() {
    for (number, name) in (0..).zip(NAMES) {
        let recorder = Recorder::new();
        let client = pair(&recorder).await;
        let mut answers = client.repeat(repeat(2, Code::from_i32(number))).await.unwrap().into_inner();
        for _ in 0..2 {
            answers.next().await.unwrap().unwrap();
        }
        let end = answers.message().await;
        assert_eq!(end.map_or_else(|status| status.code(), |_| Code::Ok), Code::from_i32(number));
        // The last frame ends the call; the body need not be dropped.
        assert_call(&recorder, name, name).await;
    }
}

/// Returns a client of a server that responds with `answer`.
async fn answering<F>(recorder: &Recorder, answer: F) -> EchoClient<ClientService<Channel>>
where
    F: Fn() -> Response<Body> + Clone + Send + 'static,
{
    let (address, incoming) = listen().await;
    let service = tower::service_fn(move |_: Request<Body>| {
        let answer = answer();
        async { Ok::<_, Infallible>(answer) }
    });
    let server = Server::builder().layer(server_layer(recorder));
    tokio::spawn(async move { server.serve_with_incoming(service, incoming).await });
    client(&client_layer(recorder), address)
}

/// Builds a response of these frames.
fn reply(status: u16, frames: Vec<Frame<Bytes>>) -> Response<Body> {
    let frames = stream::iter(frames.into_iter().map(Ok::<_, Infallible>));
    let response = Response::builder().status(status).header("content-type", "application/grpc");
    response.body(Body::new(StreamBody::new(frames))).unwrap()
}

#[tokio::test]
async fn a_reply_without_a_status_is_read_from_http() {
    for (status, seen) in [
        (StatusCode::OK, "UNKNOWN"),
        (StatusCode::BAD_REQUEST, "INTERNAL"),
        (StatusCode::UNAUTHORIZED, "UNAUTHENTICATED"),
        (StatusCode::FORBIDDEN, "PERMISSION_DENIED"),
        (StatusCode::NOT_FOUND, "UNIMPLEMENTED"),
        (StatusCode::TOO_MANY_REQUESTS, "UNAVAILABLE"),
        (StatusCode::BAD_GATEWAY, "UNAVAILABLE"),
        (StatusCode::IM_A_TEAPOT, "UNKNOWN"),
    ] {
        let nothing = Vec::new;
        let message = || vec![Frame::data(Bytes::from_static(&[0; 5]))];
        let trailers = || vec![Frame::data(Bytes::from_static(&[0; 5])), Frame::trailers(HeaderMap::new())];
        for frames in [nothing, message, trailers] {
            let recorder = Recorder::new();
            let client = answering(&recorder, move || reply(status.as_u16(), frames())).await;
            let error = client.unary(say("hello")).await.unwrap_err();
            assert_eq!(name(error.code()), seen, "{status}");
            assert_call(&recorder, seen, seen).await;
        }
    }
}

#[tokio::test]
async fn a_page_in_place_of_a_reply_tells_its_status_though_nobody_reads_it() {
    for whole in [true, false] {
        let recorder = Recorder::new();
        let page = move || {
            let mut frames = vec![Frame::data(Bytes::from("Sorry."))];
            if !whole {
                frames.push(Frame::data(Bytes::from(vec![b'x'; 500_000])));
            }
            reply(503, frames)
        };
        let client = answering(&recorder, page).await;
        client.unary(say("hello")).await.unwrap_err();
        assert_call(&recorder, "UNAVAILABLE", "UNAVAILABLE").await;
    }
}

#[tokio::test]
async fn what_is_no_status_is_unknown() {
    for status in ["17", "-1", "abc", "", "0x0", "999999999999999999999"] {
        let mut told = HeaderMap::new();
        told.insert("grpc-status", HeaderValue::from_static(status));
        let trailers = told.clone();
        let in_head = move || {
            let mut reply = reply(200, Vec::new());
            reply.headers_mut().extend(told.clone());
            reply
        };
        let recorder = Recorder::new();
        let error = answering(&recorder, in_head).await.unary(say("hello")).await.unwrap_err();
        assert_eq!(error.code(), Code::Unknown, "{status:?}");
        assert_call(&recorder, "UNKNOWN", "UNKNOWN").await;

        let recorder = Recorder::new();
        let frames = move || {
            reply(200, vec![Frame::data(Bytes::from_static(&[0; 5])), Frame::trailers(trailers.clone())])
        };
        let error = answering(&recorder, frames).await.unary(say("hello")).await.unwrap_err();
        assert_eq!(error.code(), Code::Unknown, "{status:?}");
        assert_call(&recorder, "UNKNOWN", "UNKNOWN").await;
    }
}

#[tokio::test]
async fn a_malformed_timeout_is_none() {
    for timeout in ["", "1", "S", "-1S", "1 S", "123456789m", "1s", "abc"] {
        let recorder = Recorder::new();
        let client = pair(&recorder).await;
        let with_timeout = |text| {
            let mut request = tonic::Request::new(say(text));
            request.metadata_mut().insert("grpc-timeout", timeout.parse().unwrap());
            request
        };
        client.unary(with_timeout("hello")).await.unwrap();
        assert_call(&recorder, "OK", "OK").await;

        let recorder = Recorder::new();
        let client = pair(&recorder).await;
        drop_when_served(&recorder, client.unary(with_timeout("wait"))).await;
        assert_call(&recorder, "CANCELLED", "CANCELLED").await;
    }
}

#[tokio::test]
async fn a_malformed_parent_is_none() {
    for parent in [
        "",
        "00",
        "00-00000000000000000000000000000000-0000000000000000-01",
        "ff-x",
        "00-0af7651916cd43dd-01",
    ] {
        let recorder = Recorder::new();
        // An uninstrumented client, which sends the metadata unchanged.
        let address = serve(server_layer(&recorder)).await;
        let mut request = tonic::Request::new(say("hello"));
        request.metadata_mut().insert("traceparent", parent.parse().unwrap());
        EchoClient(endpoint(address).connect_lazy()).unary(request).await.unwrap();
        recorder.wait_for_spans(1).await;
        assert_one(&recorder, SpanKind::Server, "OK", None);
        assert_eq!(spans_of(&recorder, SpanKind::Server)[0].parent_span_id, SpanId::INVALID, "{parent:?}");
    }
}
