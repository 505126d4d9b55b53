//! Each advertised client against peers that fail in each way, over sockets.

mod hyper_util_client;
mod matrix;
mod reqwest_client;
mod tonic_channel;
mod tower_layers;

use std::net::SocketAddr;

use hyper_util::client::legacy::connect::HttpConnector;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A peer of one connection that does not answer as it should.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Peer {
    /// No program listens.
    Absent,
    /// Reads the request and never answers.
    Silent,
    /// Closes the connection with the request unread, which resets it.
    Resetting,
    /// Closes the connection after the request.
    Closing,
    /// Answers with other bytes than a response.
    Garbage,
    /// Answers with half of the body that it announces.
    HalfBody,
    /// Answers with a body whose chunks have no size.
    BadChunk,
}

impl Peer {
    /// Starts the peer; returns its address.
    async fn start(self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        if self != Self::Absent {
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(self.serve(stream));
                }
            });
        }
        address
    }

    async fn serve(self, mut stream: TcpStream) {
        let mut start = [0; 3];
        stream.peek(&mut start).await.unwrap();
        if &start == b"PRI" {
            receive_http2(&mut stream).await;
            // An empty SETTINGS frame, which the client acknowledges.
            stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
        }
        if self == Self::Resetting {
            // Unread bytes make the system reset the connection.
            stream.peek(&mut [0]).await.unwrap();
            return;
        }
        let _ = stream.read(&mut [0; 4_096]).await;
        let answer: &[u8] = match self {
            Self::Garbage => b"no protocol at all\r\n\r\n",
            Self::HalfBody => b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf",
            Self::BadChunk => b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
            _ => b"",
        };
        let _ = stream.write_all(answer).await;
        if self != Self::Silent {
            let _ = stream.shutdown().await;
        }
        // Until the client has given up: unread bytes would reset the connection.
        while stream.read(&mut [0; 4_096]).await.is_ok_and(|read| read > 0) {}
    }
}

/// Reads a connection of HTTP/2 up to its first request, because only a request that was sent sees the reset.
async fn receive_http2(stream: &mut TcpStream) {
    const HEADERS: u8 = 1;
    stream.read_exact(&mut [0; b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len()]).await.unwrap();
    let mut head = [0; 9];
    while head[3] != HEADERS {
        stream.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        stream.read_exact(&mut vec![0; length as usize]).await.unwrap();
    }
}

/// A name that does not resolve ([RFC 6761](https://www.rfc-editor.org/rfc/rfc6761#section-6.4)).
const UNKNOWN_HOST: &str = "http://no-such-host.invalid/";

/// Returns a connector that trusts no certificate.
fn tls() -> hyper_rustls::HttpsConnector<HttpConnector> {
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().build()
}
