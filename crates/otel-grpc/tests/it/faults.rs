//! Calls that fail inside of a server or client: too large messages, panics, overload.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{StreamExt, stream};
use opentelemetry::trace::SpanKind;
use otel_testing::Recorder;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::transport::Server;
use tonic::{Code, GrpcMethod, Request, Status};
use tonic_prost::ProstCodec;
use tower::{BoxError, ServiceBuilder};

use crate::echo::{EchoClient, EchoServer, Say, messages, repeat, say};
use crate::support::{
    assert_call, assert_failed_call, assert_one, attribute, client, client_layer, drop_when_served, listen,
    name, pair, server_layer, spans_of, until_served,
};

/// The size limit that a message exceeds.
#[derive(Clone, Copy)]
enum Most {
    ClientOut,
    ServerIn,
    ServerOut,
    ClientIn,
}

/// Makes a call with a message that exceeds one of the four limits.
async fn too_large(recorder: &Recorder, most: Most) -> Status {
    let EchoClient(channel) = pair(recorder).await;
    let mut request = Request::new(say("x".repeat(100)));
    request.extensions_mut().insert(GrpcMethod::new("test.Echo", "Unary"));
    let mut grpc = Grpc::new(channel);
    match most {
        Most::ClientOut => grpc = grpc.max_encoding_message_size(10),
        Most::ClientIn => grpc = grpc.max_decoding_message_size(10),
        Most::ServerIn => drop(request.metadata_mut().insert("x-most-in", "10".parse().unwrap())),
        Most::ServerOut => drop(request.metadata_mut().insert("x-most-out", "10".parse().unwrap())),
    }
    grpc.ready().await.unwrap();
    let path = "/test.Echo/Unary".parse().unwrap();
    grpc.unary::<Say, Say, _>(request, path, ProstCodec::default()).await.unwrap_err()
}

#[tokio::test]
async fn a_message_that_a_server_finds_too_large_is_out_of_range() {
    for most in [Most::ServerIn, Most::ServerOut] {
        let recorder = Recorder::new();
        assert_eq!(too_large(&recorder, most).await.code(), Code::OutOfRange);
        assert_call(&recorder, "OUT_OF_RANGE", "OUT_OF_RANGE").await;
    }
}

#[tokio::test]
async fn a_message_that_a_client_finds_too_large_to_send_fails_the_call() {
    let recorder = Recorder::new();
    let status = too_large(&recorder, Most::ClientOut).await;
    recorder.wait_until_finished().await;
    let (seen, class) = if cfg!(feature = "transport") {
        (name(status.code()), "stream_reset")
    } else {
        ("UNKNOWN", "UNKNOWN")
    };
    assert_one(&recorder, SpanKind::Client, seen, Some(class));
    // The request headers may have reached the server, which then saw the call dropped.
    for span in spans_of(&recorder, SpanKind::Server) {
        assert_eq!(attribute(&span, "rpc.response.status_code").as_deref(), Some("CANCELLED"));
    }
}

#[tokio::test]
async fn a_message_that_a_client_finds_too_large_to_read_is_a_call_that_it_gives_up() {
    let recorder = Recorder::new();
    assert_eq!(too_large(&recorder, Most::ClientIn).await.code(), Code::OutOfRange);
    recorder.wait_for_spans(2).await;
    // The layer saw a response body that was dropped before its end.
    assert_one(&recorder, SpanKind::Client, "CANCELLED", Some("CANCELLED"));
    let server = &spans_of(&recorder, SpanKind::Server)[0];
    // The server may or may not have sent the complete response before.
    let status = attribute(server, "rpc.response.status_code").unwrap();
    assert!(["OK", "CANCELLED"].contains(&&*status), "{status}");
}

/// Asserts the server span of a call that panicked, and the client span, which saw the stream reset.
async fn assert_panicked(recorder: &Recorder, client: &'static str) {
    recorder.wait_for_spans(2).await;
    assert_one(recorder, SpanKind::Server, "UNKNOWN", Some("panic"));
    assert_one(recorder, SpanKind::Client, client, Some(client));
}

#[tokio::test]
async fn a_handler_that_panics_is_told() {
    for streaming in [false, true] {
        let recorder = Recorder::new();
        let client = pair(&recorder).await;
        let status = if streaming {
            let some = stream::iter(["a", "panic"].map(say)).chain(stream::pending());
            client.collect(messages(some)).await.unwrap_err()
        } else {
            client.unary(say("panic")).await.unwrap_err()
        };
        assert_eq!(status.code(), Code::Cancelled);
        let seen = if cfg!(feature = "transport") { "CANCELLED" } else { "UNKNOWN" };
        assert_panicked(&recorder, seen).await;
        // The connection is still usable.
        assert_eq!(client.unary(say("again")).await.unwrap().into_inner().text, "again");
    }
}

#[tokio::test]
async fn a_stream_that_panics_is_told() {
    for both_ways in [false, true] {
        let recorder = Recorder::new();
        let client = pair(&recorder).await;
        let answers = if both_ways {
            let some = stream::iter(["a", "b", "panic"].map(say)).chain(stream::pending());
            client.talk(messages(some)).await.unwrap().into_inner()
        } else {
            let some = Say { text: "panic".into(), ..repeat(2, Code::Ok) };
            client.repeat(some).await.unwrap().into_inner()
        };
        let (good, bad): (Vec<_>, Vec<_>) =
            answers.collect::<Vec<_>>().await.into_iter().partition(Result::is_ok);
        assert!(good.len() <= 2, "a reset may overtake messages");
        let status = bad[0].as_ref().unwrap_err().code();
        assert_panicked(&recorder, name(status)).await;
    }
}

#[tokio::test]
async fn what_tonic_sheds_never_reaches_a_layer_inside() {
    let recorder = Recorder::new();
    let (address, incoming) = listen().await;
    let server = Server::builder()
        .load_shed(true)
        .concurrency_limit_per_connection(1)
        .layer(server_layer(&recorder))
        .add_service(EchoServer);
    tokio::spawn(server.serve_with_incoming(incoming));
    let client = client(&client_layer(&recorder), address);
    let shed = async {
        until_served(&recorder).await;
        client.unary(say("too much")).await.unwrap_err()
    };
    let status = drop_and_take(client.unary(say("wait")), shed).await;
    assert_eq!(status.code(), Code::ResourceExhausted);
    recorder.wait_for_spans(3).await;
    assert_eq!(spans_of(&recorder, SpanKind::Server).len(), 1, "{}", recorder.tree());
    assert_eq!(recorder.metric("rpc.server.call.duration").count(), 1);
    let durations = recorder.metric("rpc.client.call.duration");
    assert_eq!(durations.with("rpc.response.status_code", "RESOURCE_EXHAUSTED").count(), 1);
    recorder.assert_clean();
}

#[tokio::test]
async fn what_is_shed_inside_our_layer_is_recorded() {
    let recorder = Recorder::new();
    let (address, incoming) = listen().await;
    let layers = ServiceBuilder::new().layer(server_layer(&recorder)).load_shed().concurrency_limit(1);
    let server = Server::builder().layer(layers.into_inner()).add_service(EchoServer);
    tokio::spawn(server.serve_with_incoming(incoming));
    let client = client(&client_layer(&recorder), address);
    let shed = async {
        until_served(&recorder).await;
        client.unary(say("too much")).await.unwrap_err()
    };
    let status = drop_and_take(client.unary(say("wait")), shed).await;
    assert_eq!(status.code(), Code::ResourceExhausted);
    recorder.wait_for_spans(4).await;
    let seen = if cfg!(feature = "transport") { "RESOURCE_EXHAUSTED" } else { "UNKNOWN" };
    let durations = recorder.metric("rpc.server.call.duration");
    assert_eq!(durations.count(), 2);
    assert_eq!(durations.with("rpc.response.status_code", seen).count(), 1, "{}", recorder.metrics());
    let durations = recorder.metric("rpc.client.call.duration");
    assert_eq!(durations.with("rpc.response.status_code", "RESOURCE_EXHAUSTED").count(), 1);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_layer_inside_that_fails_is_what_tonic_makes_of_it() {
    for known in [true, false] {
        let recorder = Recorder::new();
        let (address, incoming) = listen().await;
        let failing = tower::service_fn(move |_: http::Request<Body>| async move {
            let error = if known { Status::aborted("inside").into() } else { BoxError::from("secret") };
            Err::<http::Response<Body>, _>(error)
        });
        let server = Server::builder().layer(server_layer(&recorder));
        tokio::spawn(async move { server.serve_with_incoming(failing, incoming).await });
        let client = client(&client_layer(&recorder), address);
        let status = client.unary(say("hello")).await.unwrap_err();
        if known {
            assert_eq!(status.code(), Code::Aborted);
            assert_call(&recorder, "ABORTED", "ABORTED").await;
        } else {
            // tonic has no status for this error and resets the stream.
            let (seen, class) = if cfg!(feature = "transport") {
                (name(status.code()), "stream_reset")
            } else {
                ("UNKNOWN", "UNKNOWN")
            };
            assert_failed_call(&recorder, seen, Some(class), "UNKNOWN").await;
        }
        assert!(!format!("{}{}", recorder.tree(), recorder.metrics()).contains("secret"));
    }
}

/// Returns the output of `second` while `first` is pending, and drops `first`.
async fn drop_and_take<T, U>(first: impl Future<Output = T>, second: impl Future<Output = U>) -> U {
    tokio::select! {
        _ = first => panic!("the call should not end"),
        taken = second => taken,
    }
}

#[tokio::test]
async fn many_calls_that_end_in_every_way_leave_nothing_behind() {
    let recorder = Recorder::new();
    let client = pair(&recorder).await;
    let answered = AtomicUsize::new(0);
    let calls = (0..60_usize).map(|number| {
        let (client, answered, recorder) = (&client, &answered, &recorder);
        async move {
            match number % 4 {
                0 => drop(client.unary(say("panic")).await.unwrap_err()),
                1 => drop_when_served(recorder, client.unary(say("wait"))).await,
                2 => drop(client.repeat(repeat(9, Code::Ok)).await.unwrap()),
                _ => drop(client.unary(say("fine")).await.unwrap()),
            }
            answered.fetch_add(1, Ordering::Relaxed);
        }
    });
    futures_util::future::join_all(calls).await;
    assert_eq!(answered.into_inner(), 60);
    recorder.wait_until_finished().await;
    recorder.assert_clean();
    for (side, kind) in [("client", SpanKind::Client), ("server", SpanKind::Server)] {
        let spans = spans_of(&recorder, kind).len() as u64;
        assert_eq!(recorder.metric(&format!("rpc.{side}.call.duration")).count(), spans);
    }
    assert_eq!(spans_of(&recorder, SpanKind::Client).len(), 60);
}
