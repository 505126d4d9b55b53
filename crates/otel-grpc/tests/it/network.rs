//! Connections that are cut or shut down during a call.

use std::net::SocketAddr;

use futures_util::{FutureExt, StreamExt};
use opentelemetry::trace::SpanKind;
use otel_testing::Recorder;
#[cfg(unix)]
use tokio::net::UnixListener;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
#[cfg(unix)]
use tokio_stream::wrappers::UnixListenerStream;
use tonic::Code;
#[cfg(unix)]
use tonic::transport::Endpoint;
use tonic::transport::{Channel, Server};
use tower::Layer;

use crate::echo::{EchoClient, EchoServer, Say, messages, repeat, say};
use crate::support::{
    assert_call, assert_failed_call, attribute, client, client_layer, endpoint, listen, name, serve,
    server_layer, spans_of, until_served,
};

/// Starts a TCP proxy to `server`, which a test aborts to cut the connection.
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

/// Requests a stream that remains open after one message.
fn endless() -> Say {
    Say { text: "wait".into(), ..repeat(1, Code::Ok) }
}

/// Returns the status that the client layer records for tonic's errors, which it classifies only with `transport`.
fn seen(code: Code) -> &'static str {
    if cfg!(feature = "transport") { name(code) } else { "UNKNOWN" }
}

/// The class of a connection that is cut within a stream. Without `transport` the causes of hyper's errors are not read.
const CUT_STREAM: &str = if cfg!(feature = "transport") { "connection_reset" } else { "UNKNOWN" };

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
    let class = if cfg!(feature = "transport") { "connection_reset" } else { "UNKNOWN" };
    assert_failed_call(&recorder, seen(status), Some(class), "CANCELLED").await;
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
    // The error of a failing body is tonic's `Status`, which is read with any set of features.
    assert_failed_call(&recorder, name(status.code()), Some(CUT_STREAM), "CANCELLED").await;
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
    assert_failed_call(&recorder, name(status.code()), Some(CUT_STREAM), "CANCELLED").await;
}

#[tokio::test]
async fn a_balanced_channel_has_the_address_of_its_target() {
    let recorder = Recorder::new();
    let (first, second) = (serve(server_layer(&recorder)).await, serve(server_layer(&recorder)).await);
    let channel = Channel::balance_list([first, second].map(endpoint).into_iter());
    // The layer is outside of the balancer, which decides the server of each call.
    let layer = client_layer(&recorder).with_target(&"http://orders.internal:50051".parse().unwrap());
    let client = EchoClient(layer.layer(channel));
    for _ in 0..4 {
        client.unary(say("hello")).await.unwrap();
    }
    recorder.wait_for_spans(8).await;
    for span in spans_of(&recorder, SpanKind::Client) {
        assert_eq!(attribute(&span, "server.address").as_deref(), Some("orders.internal"));
        assert_eq!(attribute(&span, "server.port").as_deref(), Some("50051"));
    }
    let durations = recorder.metric("rpc.client.call.duration").with("server.address", "orders.internal");
    assert_eq!(durations.count(), 4, "{}", recorder.metrics());
}

#[cfg(unix)]
#[tokio::test]
async fn a_unix_socket_has_its_path_as_the_address() {
    let recorder = Recorder::new();
    let path = std::env::temp_dir().join(format!("otel-grpc-{}.sock", std::process::id()));
    let incoming = UnixListenerStream::new(UnixListener::bind(&path).unwrap());
    let server = Server::builder().layer(server_layer(&recorder)).add_service(EchoServer);
    tokio::spawn(server.serve_with_incoming(incoming));
    let path = path.to_str().unwrap();
    let endpoint = Endpoint::from_shared(format!("unix:{path}")).unwrap();
    // The reason why `with_target` cannot be used.
    assert_eq!(*endpoint.uri(), "http://tonic");
    let layer = client_layer(&recorder).with_server(path, None);
    EchoClient(layer.layer(endpoint.connect_lazy())).unary(say("hello")).await.unwrap();
    std::fs::remove_file(path).unwrap();
    assert_call(&recorder, "OK", "OK").await;
    let span = &spans_of(&recorder, SpanKind::Client)[0];
    assert_eq!(attribute(span, "server.address").as_deref(), Some(path));
    assert_eq!(attribute(span, "server.port"), None);
    let durations = recorder.metric("rpc.client.call.duration").with("server.address", path.to_owned());
    assert_eq!(durations.without("server.port").count(), 1, "{}", recorder.metrics());
}
