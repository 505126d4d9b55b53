//! The program under load for a minute.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, time::MissedTickBehavior};

use crate::client::{TRACES, attribute, export, frame, get, span, start};

const SECONDS: u64 = 60;
/// Spans of one request, twenty requests a second.
const BATCH: u64 = 500;
const MIB: u64 = 1 << 20;

struct Program {
    child: Child,
    http: std::net::SocketAddr,
    grpc: std::net::SocketAddr,
}

impl Program {
    fn start() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_otel-waterfall"));
        command.args(["--serve", "--http-port", "0", "--grpc-port", "0", "--max-mib", "32"]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut address = |protocol: &str| loop {
            let line = lines.next().unwrap().unwrap();
            if line.starts_with(protocol) {
                return line.rsplit("http://").next().unwrap().parse().unwrap();
            }
        };
        let (http, grpc) = (address("OTLP/HTTP"), address("OTLP/gRPC"));
        // The counts that it prints are read, because a full pipe would stop it.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, http, grpc }
    }

    /// The resident memory, in bytes.
    fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A batch of traces of ten spans.
fn batch(number: u64) -> Bytes {
    let spans = (0..BATCH).map(|place| {
        let trace = number * BATCH + place / 10 + 1;
        let mut one = span(trace.into(), trace * 10 + place % 10, "GET /orders/{id}");
        if !place.is_multiple_of(10) {
            one.parent_span_id = (trace * 10).to_be_bytes().to_vec();
        }
        one.attributes =
            (0..8).map(|key| attribute(&format!("attribute.{key}"), "a value of usual length")).collect();
        one
    });
    frame(0, &export(spans.collect())).into()
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_spans_a_second_for_a_minute() {
    let program = Program::start();
    let stream = TokioIo::new(TcpStream::connect(program.grpc).await.unwrap());
    let (mut sender, connection) = conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let http = program.http;
    let reader = tokio::spawn(async move {
        // What the page does once a second.
        let (mut after, mut slowest) = (0, Duration::ZERO);
        let mut every = tokio::time::interval(Duration::from_secs(1));
        for _ in 0..SECONDS - 5 {
            every.tick().await;
            let began = Instant::now();
            let changes = get(http, &format!("/changes?after={after}")).await.json();
            slowest = slowest.max(began.elapsed());
            after = changes["revision"].as_u64().unwrap();
        }
        slowest
    });

    let mut every = tokio::time::interval(Duration::from_millis(1_000 * BATCH / 10_000));
    every.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let began = Instant::now();
    let (mut memory, mut longest) = (Vec::new(), Duration::ZERO);
    let batches = SECONDS * 10_000 / BATCH;
    for number in 0..batches {
        every.tick().await;
        let sent = Instant::now();
        let request = Request::post(format!("http://{}{TRACES}", program.grpc))
            .header("te", "trailers")
            .header(header::CONTENT_TYPE, "application/grpc")
            .body(Full::new(batch(number)))
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        let trailers = response.into_body().collect().await.unwrap().trailers().cloned().unwrap();
        assert_eq!(trailers["grpc-status"], "0");
        longest = longest.max(sent.elapsed());
        if number % 20 == 19 {
            memory.push(program.memory());
        }
    }
    let elapsed = began.elapsed();
    let slowest = reader.await.unwrap();
    let stats = get(http, &format!("/changes?after={}", u64::MAX)).await.json()["stats"].clone();
    let most = |part: &[u64]| part.iter().max().unwrap() / MIB;
    let (first, second) = (most(&memory[..memory.len() / 2]), most(&memory[memory.len() / 2..]));
    println!(
        "{elapsed:?}; memory {first} MiB, then {second} MiB; slowest export {longest:?}, changes {slowest:?}; {stats}"
    );
    assert_eq!(stats["spans"], batches * BATCH, "every span was received");
    assert!(elapsed < Duration::from_secs(SECONDS + 5), "{elapsed:?}: slower than the spans arrive");
    assert!(second <= first + 16 && second < 160, "memory {first} MiB, then {second} MiB");
    assert!(slowest < Duration::from_secs(2) && longest < Duration::from_secs(2), "{slowest:?}, {longest:?}");
}

#[tokio::test]
async fn a_connection_that_sends_nothing_is_closed() {
    let running = start(otel_waterfall::Server::new()).await;
    let mut idle = tokio::net::TcpStream::connect(running.http).await.unwrap();
    let mut byte = [0];
    let closed = tokio::io::AsyncReadExt::read(&mut idle, &mut byte);
    let closed = tokio::time::timeout(std::time::Duration::from_secs(20), closed).await;
    assert_eq!(closed.expect("it is closed").unwrap(), 0);
}
