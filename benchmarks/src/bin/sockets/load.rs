//! The load process: connections that are kept, each of which sends its next request after the response to the last.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// The number of connections.
pub(crate) const CONNECTIONS: usize = 16;

const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const UNSAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

/// Sends requests, one of so many with a sampled parent, and prints their rate, and percentiles of the time to the end of the response.
pub(crate) fn load(port: u16, requests: usize, sampled_of: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("it starts");
    let started = Instant::now();
    let mut times = runtime.block_on(async {
        let connections: Vec<_> = (0..CONNECTIONS)
            .map(|_| tokio::spawn(connection(port, requests / CONNECTIONS, sampled_of)))
            .collect();
        let mut times = Vec::with_capacity(requests);
        for connection in connections {
            times.extend(connection.await.expect("it does not panic"));
        }
        times
    });
    let seconds = started.elapsed().as_secs_f64();
    times.sort_unstable();
    let percentile = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1e6;
    println!("requests {}", times.len());
    println!("per_second {}", times.len() as f64 / seconds);
    println!("p50 {}", percentile(50));
    println!("p99 {}", percentile(99));
}

async fn connection(port: u16, requests: usize, sampled_of: usize) -> Vec<Duration> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("the server listens");
    stream.set_nodelay(true).expect("the socket is open");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("it is new");
    tokio::spawn(connection);
    let mut times = Vec::with_capacity(requests);
    for number in 0..requests {
        let request = Request::get("/users/42?fields=name")
            .header("host", "api.example.com:8080")
            .header("user-agent", "curl/8.5.0")
            .header("accept", "application/json")
            .header("traceparent", if number % sampled_of == 0 { SAMPLED } else { UNSAMPLED })
            .body(Empty::<Bytes>::new())
            .expect("the parts are valid");
        let started = Instant::now();
        sender.ready().await.expect("the connection is kept");
        let response = sender.send_request(request).await.expect("the server responds");
        assert!(response.status().is_success());
        let body = response.into_body().collect().await.expect("the body is complete").to_bytes();
        times.push(started.elapsed());
        assert_eq!(body, "Ada");
    }
    times
}
