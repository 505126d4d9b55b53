//! Input that a client made large, slow, or broken.

use std::io::Write;

use http::StatusCode;
use otel_waterfall::Server;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::client::{attribute, export, get, post, span, start};

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let running = start(Server::new()).await;
    // Not read to its end: the answer comes while the client still sends.
    let mut stream = TcpStream::connect(running.http).await.unwrap();
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: 90000000\r\n\r\n",
        running.http
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = vec![b' '; 64 << 10];
    let mut answer = [0; 12];
    let (mut reader, mut writer) = stream.split();
    let sending = async {
        // The server closes the connection early.
        while writer.write_all(&chunk).await.is_ok() {}
        std::future::pending::<()>().await;
    };
    tokio::select! {
        read = reader.read_exact(&mut answer) => { read.unwrap(); }
        () = sending => {}
    }
    assert_eq!(&answer, b"HTTP/1.1 413");
}

#[tokio::test]
async fn a_bomb_is_not_inflated() {
    let running = start(Server::new()).await;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let zeros = vec![0; 1 << 20];
    for _ in 0..200 {
        encoder.write_all(&zeros).unwrap();
    }
    let bomb = encoder.finish().unwrap();
    assert!(bomb.len() < 1 << 20);
    let answer = post(running.http, "/v1/traces", &[PROTOBUF, ("content-encoding", "gzip")], bomb).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn millions_of_empty_spans_are_refused_before_they_are_decoded() {
    let running = start(Server::new()).await;
    // Two bytes for each span; the lengths of the three messages around them have four bytes.
    let length = |length: usize| {
        let byte = |shift: usize| ((length >> shift) & 0x7f) as u8;
        [byte(0) | 0x80, byte(7) | 0x80, byte(14) | 0x80, byte(21)]
    };
    let spans = [0x12, 0].repeat(2_000_000);
    let scope_spans = [&[0x12][..], &length(spans.len()), &spans].concat();
    let resource_spans = [&[0x0a][..], &length(scope_spans.len()), &scope_spans].concat();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&resource_spans).unwrap();
    let gzip = [PROTOBUF, ("content-encoding", "gzip")];
    let answer = post(running.http, "/v1/traces", &gzip, encoder.finish().unwrap()).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_deeply_nested_value_is_cut() {
    use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, any_value::Value};
    let running = start(Server::new()).await;
    let mut value = AnyValue { value: Some(Value::BoolValue(true)) };
    for _ in 0..40 {
        value = AnyValue { value: Some(Value::ArrayValue(ArrayValue { values: vec![value] })) };
    }
    let mut one = span(1, 1, "x");
    one.attributes = vec![attribute("deep", "")];
    one.attributes[0].value = Some(value);
    assert_eq!(post(running.http, "/v1/traces", &[PROTOBUF], export(vec![one])).await.status, StatusCode::OK);
    let trace = get(running.http, &format!("/trace/{:032x}", 1)).await.json();
    assert_eq!(trace["spans"][0]["a"][0][1], format!("{}…{}", "[".repeat(16), "]".repeat(16)));
}

#[tokio::test]
async fn the_oldest_traces_are_forgotten() {
    let running = start(Server::new().with_max_bytes(0)).await;
    let text = "x".repeat(1_000);
    for batch in 0..40_u128 {
        let spans = (1..=100_u128).map(|number| {
            let mut one = span(batch * 100 + number, 1, "x");
            one.attributes = vec![attribute("text", &text)];
            one
        });
        let answer = post(running.http, "/v1/traces", &[PROTOBUF], export(spans.collect())).await;
        assert_eq!(answer.status, StatusCode::OK);
    }
    let facts = running.server.facts();
    assert!(facts.starts_with("4000 spans received") && facts.contains(" in 0 MiB"), "{facts}");
    assert_eq!(get(running.http, &format!("/trace/{:032x}", 1)).await.status, StatusCode::NOT_FOUND);
    assert_eq!(get(running.http, &format!("/trace/{:032x}", 4_000)).await.status, StatusCode::OK);
}
