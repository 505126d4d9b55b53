//! The methods that a server learns without file descriptor sets.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use otel_testing::Recorder;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service, ServiceExt};

use crate::echo::{EchoClient, REPEAT, Say, UNARY, repeat, say};
use crate::methods::{NameSampler, guarded, names, reply, response, unnamed};
use crate::support::{attribute, endpoint, serve, server_layer};

/// Calls a path of a server without a socket, and reads the response.
async fn call<S, B>(service: &S, path: &str)
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone,
    B: http_body::Body,
{
    let request = Request::post(path).body(Body::empty()).unwrap();
    let _ = service.clone().oneshot(request).await.unwrap().into_body().collect().await;
}

#[tokio::test]
async fn an_interceptor_that_rejects_calls_names_none_of_them() {
    for code in [
        Code::ResourceExhausted,
        Code::Unavailable,
        Code::InvalidArgument,
        Code::FailedPrecondition,
        Code::Unauthenticated,
        Code::NotFound,
        Code::Ok,
    ] {
        let recorder = Recorder::new();
        let client = guarded(server_layer(&recorder), code, Arc::new(true.into())).await;
        for number in 0..5 {
            let _ = client.by_hand(&format!("/test.Echo/Evil{number}")).await;
        }
        recorder.wait_for_spans(5).await;
        assert_eq!(names(&recorder), unnamed(), "{code:?}");
    }
}

#[tokio::test]
async fn rejected_calls_do_not_use_up_the_names_that_can_be_learned() {
    let recorder = Recorder::new();
    let rejects = Arc::new(AtomicBool::new(true));
    let client = guarded(server_layer(&recorder), Code::ResourceExhausted, Arc::clone(&rejects)).await;
    for number in 0..1_100 {
        client.by_hand(&format!("/test.Echo/Evil{number}")).await.unwrap_err();
    }
    rejects.store(false, Ordering::SeqCst);
    for _ in 0..2 {
        client.unary(say("hello")).await.unwrap();
    }
    recorder.wait_for_spans(1_102).await;
    assert_eq!(recorder.spans().iter().filter(|span| span.name == UNARY).count(), 2);
    assert_eq!(recorder.metric("rpc.server.call.duration").points().len(), 2, "{}", recorder.metrics());
}

#[tokio::test]
async fn a_method_is_learned_from_a_reply_with_a_message_alone() {
    const MESSAGE: Option<&[u8]> = Some(b"\0\0\0\0\x01x");
    type Case = (&'static str, fn() -> Response<Body>, bool);
    let cases: [Case; 13] = [
        ("a message", || response("application/grpc", MESSAGE, Some(Code::Ok)), true),
        ("a compressed message", || response("application/grpc", Some(b"\x01\0\0\0\0"), None), true),
        ("an error after a message", || response("application/grpc", MESSAGE, Some(Code::Internal)), true),
        ("gRPC-Web", || response("application/grpc-web", MESSAGE, None), true),
        ("gRPC-Web in text", || response("application/grpc-web-text", Some(b"AAAAAAF4"), None), true),
        ("trailers of gRPC-Web", || response("application/grpc-web", Some(b"\x80\0\0\0\0"), None), false),
        ("trailers in text", || response("application/grpc-web-text", Some(b"gAAAAAA="), None), false),
        ("no message", || response("application/grpc", None, Some(Code::Ok)), false),
        ("an error in trailers", || response("application/grpc", None, Some(Code::NotFound)), false),
        ("a page of a wrong type", || response("application/grpc", Some(b"<html>"), None), false),
        ("a page", || response("text/html", Some(b"<html>"), None), false),
        ("a status", || Status::not_found("").into_http(), false),
        (
            "another HTTP status",
            || {
                let mut response = response("application/grpc", MESSAGE, None);
                *response.status_mut() = StatusCode::NOT_FOUND;
                response
            },
            false,
        ),
    ];
    for (kind, make, is_learned) in cases {
        let recorder = Recorder::new();
        let server = move |_: Request<Body>| async move { Ok::<_, Infallible>(make()) };
        let service = server_layer(&recorder).layer(tower::service_fn(server));
        for _ in 0..2 {
            call(&service, "/test.Echo/Unary").await;
        }
        let spans = recorder.spans();
        let name = if is_learned { UNARY } else { "grpc" };
        assert_eq!(spans.iter().map(|span| &*span.name).collect::<Vec<_>>(), [name, name], "{kind}");
        assert_eq!(recorder.metrics().contains(UNARY), is_learned, "{kind}");
        recorder.assert_clean();
    }
}

#[tokio::test]
async fn a_method_is_learned_from_the_first_reply_to_it() {
    let sampler = NameSampler::default();
    let recorder = Recorder::builder().with_sampler(sampler.clone()).build();
    let address = serve(server_layer(&recorder)).await;
    let client = EchoClient(endpoint(address).connect_lazy());
    for _ in 0..2 {
        client.unary(say("hello")).await.unwrap();
    }
    recorder.wait_for_spans(2).await;
    // The sampler runs before the response.
    assert_eq!(*sampler.0.lock().unwrap(), ["grpc", UNARY]);
    assert!(recorder.spans().iter().all(|span| span.name == UNARY));
    assert_eq!(recorder.metric("rpc.server.call.duration").with("rpc.method", UNARY).count(), 2);
}

#[tokio::test]
async fn a_stream_that_is_left_is_learned_if_it_has_sent_a_message() {
    for (number, expected) in [(1, REPEAT), (0, "_OTHER")] {
        let recorder = Recorder::new();
        let client = EchoClient(endpoint(serve(server_layer(&recorder)).await).connect_lazy());
        let endless = Say { text: "wait".into(), ..repeat(number, Code::Ok) };
        let mut replies = client.repeat(endless).await.unwrap().into_inner();
        for _ in 0..number {
            replies.message().await.unwrap().unwrap();
        }
        drop(replies);
        recorder.wait_for_spans(1).await;
        let durations = recorder.metric("rpc.server.call.duration");
        assert_eq!(durations.with("rpc.method", expected).count(), 1, "{}", recorder.metrics());
        assert_eq!(attribute(&recorder.spans()[0], "rpc.method").as_deref(), Some(expected));
    }
}

#[tokio::test]
async fn a_path_that_can_be_no_method_is_never_learned() {
    let recorder = Recorder::new();
    let service = server_layer(&recorder).layer(tower::service_fn(reply));
    let long = format!("/test.Echo/{}", "M".repeat(300));
    let paths = ["/test.Echo/M%20", "/test.Echo/a/b", "/test.Echo", "/test.Echo/", "//M", "/", &long];
    for path in paths {
        call(&service, path).await;
    }
    let durations = recorder.metric("rpc.server.call.duration");
    assert_eq!(durations.with("rpc.method", "_OTHER").count(), 7, "{}", recorder.metrics());
    let original = attribute(&recorder.spans()[6], "rpc.method_original").unwrap();
    assert_eq!(original.len(), 256);
}

#[tokio::test]
async fn the_series_of_learned_methods_have_a_bound() {
    let recorder = Recorder::new();
    // The query determines the status, and is no part of the method.
    let service = tower::service_fn(|request: Request<Body>| async move {
        let code = request.uri().query().unwrap_or_default().parse().unwrap();
        Ok::<_, Infallible>(response("application/grpc", Some(b"\0\0\0\0\0"), Some(Code::from_i32(code))))
    });
    let service = server_layer(&recorder).with_max_untrusted_series(10).layer(service);
    for number in 0..6 {
        for code in 0..3 {
            call(&service, &format!("/test.Echo/M{number}?{code}")).await;
        }
    }
    let durations = recorder.metric("rpc.server.call.duration");
    let others = durations.clone().with("rpc.method", "_OTHER");
    // The fourth method has begun the tenth series, and may make more.
    assert_eq!((durations.count(), others.count()), (18, 6), "{}", recorder.metrics());
    assert_eq!(durations.points().len() - others.points().len(), 12);
    call(&service, "/test.Echo/M0?14").await;
    let first = recorder.metric("rpc.server.call.duration").with("rpc.method", "test.Echo/M0");
    assert_eq!(first.with("rpc.response.status_code", "UNAVAILABLE").count(), 1, "{}", recorder.metrics());
    call(&service, "/test.Echo/M5?0").await;
    let last = recorder.spans().pop().unwrap();
    assert_eq!(last.name, "grpc");
    assert_eq!(attribute(&last, "rpc.method_original").as_deref(), Some("test.Echo/M5"));
}

#[tokio::test]
async fn nothing_is_learned_beyond_the_default_bound() {
    let recorder = Recorder::new();
    let service = server_layer(&recorder).layer(tower::service_fn(reply));
    for number in 0..1_100 {
        call(&service, &format!("/test.Echo/M{number}")).await;
    }
    let durations = recorder.metric("rpc.server.call.duration");
    assert_eq!((durations.count(), durations.points().len()), (1_100, 1_001));
    assert_eq!(durations.with("rpc.method", "_OTHER").count(), 100);
}
