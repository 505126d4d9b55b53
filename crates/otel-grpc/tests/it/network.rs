//! Connections that break in the middle of a call: cut off, reset by the server, shut down.

use std::net::SocketAddr;
#[cfg(feature = "transport")]
use std::sync::Arc;

use futures_util::{FutureExt, StreamExt};
#[cfg(feature = "transport")]
use opentelemetry::trace::SpanKind;
use otel_testing::Recorder;
use tokio::net::{TcpListener, TcpStream};
#[cfg(feature = "transport")]
use tokio::sync::Notify;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic::transport::Server;

use crate::echo::{EchoServer, Say, messages, repeat, say};
#[cfg(feature = "transport")]
use crate::support::{self, assert_one};
use crate::support::{assert_call, client, client_layer, listen, name, serve, server_layer, until_served};

/// A cable to `server`, to be cut.
async fn cable(server: SocketAddr) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let cable = tokio::spawn(async move {
        let (mut near, _) = listener.accept().await.unwrap();
        let mut far = TcpStream::connect(server).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
    });
    (address, cable)
}

/// A stream of one message that then goes on for ever.
fn endless() -> Say {
    Say { text: "wait".into(), ..repeat(1, Code::Ok) }
}

/// What the client's layer makes of tonic's errors: without the feature it does not know them.
fn seen(code: Code) -> &'static str {
    if cfg!(feature = "transport") { name(code) } else { "UNKNOWN" }
}

#[tokio::test]
async fn a_connection_that_is_cut_ends_the_call_on_both_sides() {
    let recorder = Recorder::new();
    let (address, cable) = cable(serve(server_layer(&recorder)).await).await;
    let client = client(&client_layer(&recorder), address);
    let cut = async {
        until_served(&recorder).await;
        cable.abort();
    };
    let (status, ()) = tokio::join!(client.unary(say("wait")), cut);
    let status = status.unwrap_err().code();
    assert_call(&recorder, seen(status), "CANCELLED").await;
}

#[tokio::test]
async fn a_connection_that_is_cut_ends_the_stream_on_both_sides() {
    let recorder = Recorder::new();
    let (address, cable) = cable(serve(server_layer(&recorder)).await).await;
    let mut answers = client(&client_layer(&recorder), address).repeat(endless()).await.unwrap().into_inner();
    answers.next().await.unwrap().unwrap();
    assert!(recorder.spans().is_empty(), "{}", recorder.tree());
    cable.abort();
    let status = answers.next().await.unwrap().unwrap_err();
    // Of a body that fails, tonic's own status is there to be read, with every feature.
    assert_call(&recorder, name(status.code()), "CANCELLED").await;
}

#[tokio::test]
async fn a_graceful_shutdown_lets_a_stream_come_to_its_end() {
    let recorder = Recorder::new();
    let (address, incoming) = listen().await;
    let (shutdown, signal) = oneshot::channel::<()>();
    let server = Server::builder().layer(server_layer(&recorder)).add_service(EchoServer);
    let server = server.serve_with_incoming_shutdown(incoming, signal.map(drop));
    let server = tokio::spawn(server);
    let (words, said) = mpsc::channel(1);
    let client = client(&client_layer(&recorder), address);
    words.send(say("before")).await.unwrap();
    let mut answers = client.talk(messages(ReceiverStream::new(said))).await.unwrap().into_inner();
    assert_eq!(answers.next().await.unwrap().unwrap().text, "before");
    shutdown.send(()).unwrap();
    words.send(say("after")).await.unwrap();
    assert_eq!(answers.next().await.unwrap().unwrap().text, "after");
    assert!(recorder.spans().is_empty(), "{}", recorder.tree());
    drop(words);
    assert!(answers.next().await.is_none());
    assert_call(&recorder, "OK", "OK").await;
    drop((answers, client));
    server.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_abrupt_shutdown_cancels_a_stream() {
    let recorder = Recorder::new();
    let process = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let layer = server_layer(&recorder);
    let address = process.spawn(serve(layer)).await.unwrap();
    let mut answers = client(&client_layer(&recorder), address).repeat(endless()).await.unwrap().into_inner();
    answers.next().await.unwrap().unwrap();
    process.shutdown_background();
    let status = answers.next().await.unwrap().unwrap_err();
    assert_call(&recorder, name(status.code()), "CANCELLED").await;
}

/// A server that has no gRPC, only HTTP/2: it resets each stream at once, or after a head and a message when it is told to.
#[cfg(feature = "transport")]
async fn resetting(reason: h2::Reason, when: Option<Arc<Notify>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(socket).await.unwrap();
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            let Some(when) = when.clone() else {
                respond.send_reset(reason);
                continue;
            };
            tokio::spawn(async move {
                let head = http::Response::builder().header("content-type", "application/grpc");
                let mut body = respond.send_response(head.body(()).unwrap(), false).unwrap();
                body.send_data(bytes::Bytes::from_static(&[0; 5]), false).unwrap();
                when.notified().await;
                body.send_reset(reason);
            });
        }
    });
    address
}

#[cfg(feature = "transport")]
#[tokio::test]
async fn a_reset_is_what_http2_says_that_it_is() {
    use h2::Reason;
    for (reason, code) in [
        (Reason::INTERNAL_ERROR, Code::Internal),
        (Reason::PROTOCOL_ERROR, Code::Internal),
        (Reason::REFUSED_STREAM, Code::Unavailable),
        (Reason::ENHANCE_YOUR_CALM, Code::ResourceExhausted),
        (Reason::INADEQUATE_SECURITY, Code::PermissionDenied),
        (Reason::CANCEL, Code::Cancelled),
        (Reason::NO_ERROR, Code::Internal),
    ] {
        let recorder = Recorder::new();
        let client = client(&client_layer(&recorder), resetting(reason, None).await);
        let status = client.repeat(say("hello")).await.unwrap_err();
        assert_eq!(status.code(), code, "{reason:?}");
        assert_one(&recorder, SpanKind::Client, name(code), Some(name(code)));

        let recorder = Recorder::new();
        let when = Arc::new(Notify::new());
        let client = support::client(&client_layer(&recorder), resetting(reason, Some(when.clone())).await);
        let mut answers = client.repeat(say("hello")).await.unwrap().into_inner();
        answers.next().await.unwrap().unwrap();
        when.notify_one();
        let status = answers.next().await.unwrap().unwrap_err();
        if reason == Reason::NO_ERROR {
            // hyper takes it for an end of the body, which then lacks its status.
            assert_eq!(status.code(), Code::Unknown);
        } else {
            assert_eq!(status.code(), code, "{reason:?}");
        }
        assert_one(&recorder, SpanKind::Client, name(status.code()), Some(name(status.code())));
    }
}
