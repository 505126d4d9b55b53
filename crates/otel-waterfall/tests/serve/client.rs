//! A server, and a client of one request a connection.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span},
};
use otel_waterfall::{BoundServer, Server};
use prost::Message;
use tokio::{net::TcpStream, task::JoinSet};

/// A server with free ports; it ends with the value.
pub(crate) struct Running {
    pub(crate) http: SocketAddr,
    pub(crate) grpc: SocketAddr,
    pub(crate) server: std::sync::Arc<BoundServer>,
    _task: JoinSet<()>,
}

pub(crate) async fn start(server: Server) -> Running {
    let server = std::sync::Arc::new(server.with_http_port(0).with_grpc_port(0).bind().await.unwrap());
    let mut task = JoinSet::new();
    let running = std::sync::Arc::clone(&server);
    task.spawn(async move { running.run().await });
    Running { http: server.http_address(), grpc: server.grpc_address(), server, _task: task }
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) trailers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

pub(crate) async fn send(address: SocketAddr, request: Request<Bytes>, is_http2: bool) -> Answer {
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let request = request.map(Full::new);
    let response = if is_http2 {
        let (mut sender, connection) = conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        sender.send_request(request).await.unwrap()
    } else {
        let (mut sender, connection) = conn::http1::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        sender.send_request(request).await.unwrap()
    };
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap();
    let trailers = body.trailers().cloned().unwrap_or_default();
    Answer { status: head.status, headers: head.headers, trailers, body: body.to_bytes() }
}

pub(crate) async fn get(address: SocketAddr, path: &str) -> Answer {
    let request = Request::get(path).header(header::HOST, address.to_string()).body(Bytes::new()).unwrap();
    send(address, request, false).await
}

pub(crate) async fn post(
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Answer {
    let mut request = Request::post(path).header(header::HOST, address.to_string());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(address, request.body(body.into()).unwrap(), false).await
}

/// A unary call of gRPC.
pub(crate) async fn call(
    address: SocketAddr,
    method: &str,
    headers: &[(&str, &str)],
    frame: Vec<u8>,
) -> Answer {
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(format!("http://{address}{method}"))
        .header("te", "trailers")
        .header(header::CONTENT_TYPE, "application/grpc");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(address, request.body(frame.into()).unwrap(), true).await
}

pub(crate) const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

pub(crate) fn frame(compressed: u8, message: &[u8]) -> Vec<u8> {
    let mut out = vec![compressed];
    out.extend((message.len() as u32).to_be_bytes());
    out.extend(message);
    out
}

pub(crate) fn attribute(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

pub(crate) fn span(trace: u128, id: u64, name: &str) -> Span {
    Span {
        trace_id: trace.to_be_bytes().to_vec(),
        span_id: id.to_be_bytes().to_vec(),
        name: name.to_owned(),
        kind: 2,
        start_time_unix_nano: 1_000_000,
        end_time_unix_nano: 3_000_000,
        ..Span::default()
    }
}

pub(crate) fn export(spans: Vec<Span>) -> Vec<u8> {
    let resource = Resource { attributes: vec![attribute("service.name", "shop")], ..Resource::default() };
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans =
        vec![ResourceSpans { resource: Some(resource), scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}
