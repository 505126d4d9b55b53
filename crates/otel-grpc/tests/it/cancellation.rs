//! Calls that are cancelled by the client, the handler, a deadline or a timeout.

use std::time::Duration;

use futures_util::{FutureExt, StreamExt, stream};
use http::{Request, Response};
use opentelemetry::trace::{SpanKind, Status};
use otel_grpc::LayerOptions;
use otel_testing::Recorder;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::transport::{Endpoint, Server};
use tonic::{Code, GrpcMethod};
use tower::{Layer, ServiceExt};

use crate::echo::{EchoServer, Say, messages, repeat, say};
use crate::support::{
    self, assert_call, assert_one, client, client_layer, drop_when_served, endpoint, listen, name, pair,
    serve, server_layer,
};

/// A timeout that a test only waits for.
const SHORT: Duration = Duration::from_millis(50);
/// A timeout before which a call reaches its server, also on a busy machine.
const SOON: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(3600);

/// Requests a stream that remains open after two messages.
fn endless() -> Say {
    Say { text: "wait".into(), ..repeat(2, Code::Ok) }
}

fn within(timeout: Duration, message: Say) -> tonic::Request<Say> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(timeout);
    request
}

#[tokio::test]
async fn a_client_that_drops_a_call_cancels_it_on_both_sides() {
    for streaming in [false, true] {
        let recorder = Recorder::new();
        let client = pair(&recorder).await;
        if streaming {
            let some = stream::iter([say("a")]).chain(stream::pending());
            drop_when_served(&recorder, client.collect(messages(some))).await;
        } else {
            drop_when_served(&recorder, client.unary(say("wait"))).await;
        }
        assert_call(&recorder, "CANCELLED", "CANCELLED").await;
    }
}

#[tokio::test]
async fn a_call_that_is_dropped_before_it_is_sent_never_reaches_the_server() {
    let recorder = Recorder::new();
    let client = pair(&recorder).await;
    assert!(client.unary(say("hello")).now_or_never().is_none());
    assert_one(&recorder, SpanKind::Client, "CANCELLED", Some("CANCELLED"));
    assert_eq!(recorder.spans().len(), 1);
}

#[tokio::test]
async fn a_client_whose_calls_are_hedged_leaves_the_status_of_cancelled_ones_unset() {
    for is_error in [true, false] {
        let recorder = Recorder::new();
        let layer = client_layer(&recorder).with_cancellation_as_error(is_error);
        let client = layer.layer(tower::service_fn(|_: Request<Body>| {
            std::future::pending::<Result<Response<Body>, std::io::Error>>()
        }));
        let mut request = Request::post("/test.Echo/Unary").body(Body::empty()).unwrap();
        request.extensions_mut().insert(GrpcMethod::new("test.Echo", "Unary"));
        assert!(client.oneshot(request).now_or_never().is_none());
        // Also for hedged calls: a call without a response is no success.
        let span = &recorder.spans()[0];
        let error = span.attributes.iter().find(|kv| kv.key.as_str() == "error.type").unwrap();
        assert_eq!(error.value.as_str(), "CANCELLED");
        let durations = recorder.metric("rpc.client.call.duration");
        assert_eq!(durations.with("error.type", "CANCELLED").count(), 1);
        recorder.assert_clean();
        let is_marked = matches!(span.status, Status::Error { .. });
        assert_eq!(is_marked, is_error);
    }
}

#[tokio::test]
async fn a_panic_elsewhere_does_not_blame_a_call_that_is_dropped_beside_it() {
    let recorder = Recorder::new();
    let client = pair(&recorder).await;
    let both = tokio::spawn(async move {
        let bug = async {
            tokio::task::yield_now().await;
            panic!("a bug beside the call")
        };
        tokio::join!(client.unary(say("wait")), bug).0.unwrap();
    });
    assert!(both.await.unwrap_err().is_panic());
    let client = recorder.spans().into_iter().find(|span| span.span_kind == SpanKind::Client).unwrap();
    let error = client.attributes.iter().find(|kv| kv.key.as_str() == "error.type").unwrap();
    assert_eq!(error.value.as_str(), "CANCELLED");
}

#[tokio::test]
async fn a_request_that_is_no_call_and_allows_no_body_was_not_cancelled() {
    for (method, status, error) in
        [("GET", 204, None), ("GET", 304, None), ("HEAD", 200, None), ("GET", 200, Some("cancelled"))]
    {
        let recorder = Recorder::new();
        let server = server_layer(&recorder).layer(tower::service_fn(move |_: Request<Body>| async move {
            let frames = stream::pending::<Result<http_body::Frame<bytes::Bytes>, std::io::Error>>();
            let response = Response::builder().status(status);
            Ok::<_, std::io::Error>(response.body(http_body_util::StreamBody::new(frames)).unwrap())
        }));
        let request = Request::builder().method(method).uri("/health").body(Body::empty()).unwrap();
        drop(server.oneshot(request).await.unwrap());
        let span = &recorder.spans()[0];
        let recorded = span.attributes.iter().find(|kv| kv.key.as_str() == "error.type");
        assert_eq!(recorded.map(|kv| kv.value.to_string()).as_deref(), error, "{method} {status}");
        recorder.assert_clean();
    }
}

#[tokio::test]
async fn a_client_that_drops_a_stream_cancels_it_on_both_sides() {
    for both_ways in [false, true] {
        let recorder = Recorder::new();
        let client = pair(&recorder).await;
        let (words, said) = mpsc::channel(2);
        let mut answers = if both_ways {
            for word in ["a", "b"] {
                words.send(say(word)).await.unwrap();
            }
            client.talk(messages(ReceiverStream::new(said))).await.unwrap().into_inner()
        } else {
            client.repeat(endless()).await.unwrap().into_inner()
        };
        for _ in 0..2 {
            answers.next().await.unwrap().unwrap();
        }
        assert!(recorder.spans().is_empty(), "a stream that is open is not over:\n{}", recorder.tree());
        // hyper resets a stream once both of its halves are dropped.
        drop((answers, words));
        assert_call(&recorder, "CANCELLED", "CANCELLED").await;
    }
}

#[tokio::test]
async fn a_handler_that_lets_go_of_a_stream_ends_the_call_as_it_says() {
    let recorder = Recorder::new();
    let client = pair(&recorder).await;
    let some = stream::iter(["a", "leave"].map(say)).chain(stream::pending());
    let answers = client.talk(messages(some)).await.unwrap().into_inner();
    assert_eq!(answers.map(|answer| answer.unwrap().text).collect::<Vec<_>>().await, ["a"]);
    assert_call(&recorder, "OK", "OK").await;

    let recorder = Recorder::new();
    let client = pair(&recorder).await;
    let refused = Say { status: Code::DataLoss as i32, ..say("b") };
    let some = stream::iter([say("a"), refused]).chain(stream::pending());
    assert_eq!(client.collect(messages(some)).await.unwrap_err().code(), Code::DataLoss);
    assert_call(&recorder, "DATA_LOSS", "DATA_LOSS").await;
}

#[tokio::test]
async fn a_deadline_is_seen_by_both_sides() {
    let recorder = Recorder::new();
    let status = pair(&recorder).await.unary(within(SOON, say("wait"))).await.unwrap_err();
    assert_eq!(status.code(), Code::Cancelled, "what tonic calls it");
    // Without the feature `transport` the error of tonic's channel is not classified.
    let seen = if cfg!(feature = "transport") { "DEADLINE_EXCEEDED" } else { "UNKNOWN" };
    assert_call(&recorder, seen, "DEADLINE_EXCEEDED").await;

    // A call that is dropped long before its deadline is CANCELLED.
    let recorder = Recorder::new();
    let client = pair(&recorder).await;
    drop_when_served(&recorder, client.unary(within(LONG, say("wait")))).await;
    assert_call(&recorder, "CANCELLED", "CANCELLED").await;
}

#[tokio::test]
async fn a_stream_that_is_dropped_past_its_deadline_has_exceeded_it() {
    for (timeout, status) in [(SOON, "DEADLINE_EXCEEDED"), (LONG, "CANCELLED")] {
        let recorder = Recorder::new();
        let client = pair(&recorder).await;
        let mut answers = client.repeat(within(timeout, endless())).await.unwrap().into_inner();
        for _ in 0..2 {
            answers.next().await.unwrap().unwrap();
        }
        // tonic does not enforce the deadline after the response headers.
        tokio::time::sleep(SOON).await;
        assert!(recorder.spans().is_empty(), "{}", recorder.tree());
        drop(answers);
        assert_call(&recorder, status, status).await;
    }
}

#[tokio::test]
async fn a_timeout_that_only_the_client_knows_cancels_the_server() {
    let recorder = Recorder::new();
    let address = serve(server_layer(&recorder)).await;
    let endpoint: Endpoint = endpoint(address).timeout(SOON);
    let client = crate::echo::EchoClient(client_layer(&recorder).layer(endpoint.connect_lazy()));
    assert_eq!(client.unary(say("wait")).await.unwrap_err().code(), Code::Cancelled);
    let seen = if cfg!(feature = "transport") { "DEADLINE_EXCEEDED" } else { "UNKNOWN" };
    assert_call(&recorder, seen, "CANCELLED").await;
}

#[tokio::test]
async fn a_timeout_that_only_the_server_knows_cancels_both() {
    let recorder = Recorder::new();
    let (address, incoming) = listen().await;
    let server = Server::builder().timeout(SHORT).layer(server_layer(&recorder)).add_service(EchoServer);
    tokio::spawn(server.serve_with_incoming(incoming));
    let client = client(&client_layer(&recorder), address);
    assert_eq!(client.unary(say("wait")).await.unwrap_err().code(), Code::Cancelled);
    assert_call(&recorder, "CANCELLED", "CANCELLED").await;
}

/// Makes a call without a socket to a server that responds with CANCELLED.
async fn cancelled_by_the_server(recorder: &Recorder, timeout: Option<Duration>) {
    let server = tower::service_fn(move |_: Request<Body>| async move {
        tokio::time::sleep(timeout.map_or(SHORT, |timeout| timeout.min(SHORT))).await;
        let response = Response::builder().header("grpc-status", Code::Cancelled as i32);
        Ok::<_, std::io::Error>(response.body(Body::empty()).unwrap())
    });
    let mut request = Request::post("/test.Echo/Unary").body(Body::empty()).unwrap();
    request.extensions_mut().insert(GrpcMethod::new("test.Echo", "Unary"));
    if let Some(timeout) = timeout {
        let value = format!("{}m", timeout.as_millis());
        request.headers_mut().insert("grpc-timeout", value.parse().unwrap());
    }
    client_layer(recorder).layer(server).oneshot(request).await.unwrap();
}

#[tokio::test]
async fn a_server_that_was_faster_to_see_the_deadline_calls_it_cancelled() {
    for (timeout, status) in
        [(Some(SHORT), "DEADLINE_EXCEEDED"), (Some(LONG), "CANCELLED"), (None, "CANCELLED")]
    {
        let recorder = Recorder::new();
        cancelled_by_the_server(&recorder, timeout).await;
        assert_one(&recorder, SpanKind::Client, status, Some(status));
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let recorder = Recorder::new();
    // A port without a listener: it was free a moment ago.
    let (address, incoming) = listen().await;
    drop(incoming);
    let client = support::client(&client_layer(&recorder), address);
    let status = client.unary(say("hello")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    let (seen, class) = if cfg!(feature = "transport") {
        (name(status.code()), "connection_refused")
    } else {
        ("UNKNOWN", "UNKNOWN")
    };
    assert_one(&recorder, SpanKind::Client, seen, Some(class));
    assert_eq!(recorder.spans().len(), 1);
}
