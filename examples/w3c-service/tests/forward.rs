//! The service as a process: a call that it forwards continues the caller's trace under an id of its own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

const TRACE: &str = "12345678901234567890123456789012";
const PARENT: &str = "1234567890123456";

/// Reads one HTTP request with a `content-length`, and returns its head.
async fn request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).to_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            if body.len() >= length.trim().parse().unwrap() {
                return head.to_owned();
            }
        }
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).await.unwrap();
        assert_ne!(count, 0, "the connection closed after {text}");
        bytes.extend(&buffer[..count]);
    }
}

#[tokio::test]
async fn a_forwarded_call_continues_the_trace_through_both_clients() {
    let mut service = Command::new(env!("CARGO_BIN_EXE_w3c-service"))
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(service.stdout.take().unwrap()).lines();
    let line = lines.next_line().await.unwrap().unwrap();
    let address = line.strip_prefix("listening on http://").unwrap();
    let callee = TcpListener::bind("127.0.0.1:0").await.unwrap();

    for route in ["hyper", "reqwest"] {
        let body = format!(r#"[{{"url": "http://{}/", "arguments": []}}]"#, callee.local_addr().unwrap());
        let mut caller = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "POST /{route} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\
             traceparent: 00-{TRACE}-{PARENT}-01\r\ntracestate: foo=1\r\ntracestate: bar=2,foo=3\r\n\r\n",
            body.len()
        );
        caller.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        let (mut stream, _) = callee.accept().await.unwrap();
        let seen = tokio::time::timeout(Duration::from_secs(30), request(&mut stream)).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        let header = |name: &str| {
            let mut values = seen.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            let value = values.next().map(str::to_owned);
            assert_eq!(values.next(), None, "{name} was sent twice: {seen}");
            value.unwrap_or_default()
        };
        let parent = header("traceparent");
        assert!(parent.starts_with(&format!("00-{TRACE}-")) && parent.ends_with("-01"), "{parent}");
        assert_ne!(parent.split('-').nth(2), Some(PARENT), "the hop has no span of its own");
        assert_eq!(header("tracestate"), "foo=1,bar=2");
        let mut response = String::new();
        caller.read_to_string(&mut response).await.unwrap();
        assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    }
}
