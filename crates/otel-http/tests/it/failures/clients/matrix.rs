//! Each failure with each advertised client, as a table over sockets.

use std::net::IpAddr;
use std::time::Duration;

use axum::body::Body;
use http::Request;
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use otel_http::EndOn;
use otel_testing::Recorder;
use tokio::net::{TcpSocket, TcpStream};
use tonic::transport::{ClientTlsConfig, Endpoint};
use tower::{Layer, ServiceExt};

use super::{Peer, UNKNOWN_HOST, tls};
use crate::failures::{assert_class, fail};
use crate::support::client_layer;

/// An address that no interface has ([RFC 5737](https://www.rfc-editor.org/rfc/rfc5737)): binding to it fails.
const FOREIGN: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

/// A destination that TCP cannot route to.
const BROADCAST: &str = "255.255.255.255:80";

/// The limit of time of a connection that is not established.
const SHORT: Duration = Duration::from_millis(100);
/// That of other connections, which is not reached.
const LONG: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Failure {
    Peer(Peer),
    /// The peer does not speak TLS.
    Tls,
    Dns,
    Unreachable,
    /// The local address is not of this host.
    Connect,
    /// The peer's system leaves the handshake of TCP unanswered.
    ConnectTimeout,
}

/// The failures, and their classes with HTTP/1.1 and with HTTP/2.
const FAILURES: [(Failure, &str, &str); 11] = [
    (Failure::Peer(Peer::Absent), "connection_refused", "connection_refused"),
    (Failure::Peer(Peer::Resetting), "connection_reset", "connection_reset"),
    // h2 reports both ends of a connection alike.
    (Failure::Peer(Peer::Closing), "connection_closed", "connection_reset"),
    (Failure::Peer(Peer::Garbage), "protocol", "protocol"),
    (Failure::Peer(Peer::HalfBody), "body_incomplete", "protocol"),
    (Failure::Peer(Peer::BadChunk), "protocol", "protocol"),
    (Failure::Tls, "tls", "tls"),
    (Failure::Dns, "dns", "dns"),
    (Failure::Unreachable, "unreachable", "unreachable"),
    (Failure::Connect, "connect", "connect"),
    (Failure::ConnectTimeout, "timeout", "timeout"),
];

fn limit(failure: Failure) -> Duration {
    if failure == Failure::ConnectTimeout { SHORT } else { LONG }
}

/// Connections that fill the queue of a listener, and that listener.
type Full = (tokio::net::TcpListener, Vec<TcpStream>);

/// Returns a listener whose queue is full, so that the system drops further connections.
async fn full() -> Full {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(connected) = tokio::time::timeout(SHORT, TcpStream::connect(address)).await {
        waiting.push(connected.unwrap());
    }
    (listener, waiting)
}

/// Returns the authority that fails, with what keeps it failing.
async fn authority(failure: Failure) -> (String, Option<Full>) {
    let address = match failure {
        Failure::Peer(peer) => peer.start().await,
        Failure::Tls => Peer::Garbage.start().await,
        // A program listens.
        Failure::Connect => Peer::Silent.start().await,
        Failure::Unreachable => BROADCAST.parse().unwrap(),
        Failure::Dns => return (UNKNOWN_HOST.replace("http://", "").replace('/', ""), None),
        Failure::ConnectTimeout => {
            let full = full().await;
            return (full.0.local_addr().unwrap().to_string(), Some(full));
        }
    };
    (address.to_string(), None)
}

#[tokio::test]
async fn hyper_utils_client() {
    for (failure, class, _) in FAILURES {
        let recorder = Recorder::new();
        let (authority, _full) = authority(failure).await;
        let client = Client::builder(TokioExecutor::new());
        if failure == Failure::Tls {
            fail(&recorder, client.build::<_, Body>(tls()), &format!("https://{authority}/")).await;
        } else {
            let mut connector = HttpConnector::new();
            connector.set_connect_timeout(Some(limit(failure)));
            connector.set_local_address((failure == Failure::Connect).then_some(FOREIGN));
            fail(&recorder, client.build::<_, Body>(connector), &format!("http://{authority}/")).await;
        }
        assert_class(&recorder, class);
    }
}

#[tokio::test]
async fn reqwests_client() {
    for (failure, class, _) in FAILURES {
        // Its TLS needs certificates of the system: see `reqwest_client`.
        if failure == Failure::Tls {
            continue;
        }
        let recorder = Recorder::new();
        let (authority, _full) = authority(failure).await;
        let client = reqwest::Client::builder().connect_timeout(limit(failure));
        let client = client.local_address((failure == Failure::Connect).then_some(FOREIGN)).build().unwrap();
        let layer = client_layer(&recorder).with_end_on(EndOn::Body);
        let client = reqwest_middleware::ClientBuilder::new(client).with(layer).build();
        if let Ok(response) = client.get(format!("http://{authority}/")).send().await {
            response.bytes().await.unwrap_err();
        }
        assert_class(&recorder, class);
    }
}

#[tokio::test]
async fn tonics_channel() {
    for (failure, _, class) in FAILURES {
        let recorder = Recorder::new();
        let (authority, _full) = authority(failure).await;
        let endpoint = |scheme: &str| Endpoint::from_shared(format!("{scheme}://{authority}")).unwrap();
        let endpoint = match failure {
            Failure::Tls => {
                endpoint("https").tls_config(ClientTlsConfig::new().domain_name("localhost")).unwrap()
            }
            Failure::Connect => endpoint("http").local_address(Some(FOREIGN)),
            _ => endpoint("http"),
        };
        let channel = endpoint.connect_timeout(limit(failure)).connect_lazy();
        let client = client_layer(&recorder).with_end_on(EndOn::Body).layer(channel);
        let request = Request::post("/a.B/C").body(tonic::body::Body::empty()).unwrap();
        if let Ok(response) = client.oneshot(request).await {
            response.into_body().collect().await.map(drop).unwrap_err();
        }
        assert_class(&recorder, class);
    }
}

/// A client on its own sockets, whose error is of no other class.
#[tokio::test]
async fn another_error_of_a_socket_is_io() {
    let recorder = Recorder::new();
    let client = tower::service_fn(|_: Request<Body>| async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        TcpSocket::new_v4()?.bind(listener.local_addr()?)?;
        Err::<http::Response<Body>, tower::BoxError>("the address was free".into())
    });
    fail(&recorder, client, "http://a.example/").await;
    assert_class(&recorder, "io");
}
