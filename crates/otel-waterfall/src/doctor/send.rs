//! The span of the check, sent over one connection, and the collector's answer.

use std::{
    error::Error,
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, client::conn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span},
};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};
use prost::Message;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
};

use super::environment::{Configuration, Protocol};
use crate::serve::frame;

/// Maximum size of the answer that is read.
const MAX_ANSWER: usize = 64 << 10;

/// A span that was sent.
pub(super) struct SentSpan {
    pub(super) description: String,
    protocol: Protocol,
    trace_id: TraceId,
    response: Response<Incoming>,
    /// The connection is driven until the answer is read.
    _connection: JoinSet<()>,
}

/// Connects and sends the span, until the head of the answer arrives.
pub(super) async fn send(configuration: &Configuration) -> Result<SentSpan, String> {
    let (host, port) = (configuration.host(), configuration.port());
    let plain_host = host.trim_start_matches('[').trim_end_matches(']');
    let addresses: Vec<_> = tokio::net::lookup_host((plain_host, port))
        .await
        .map_err(|error| format!("the name {host} is not resolved: {error}"))?
        .collect();
    let stream = TcpStream::connect(&*addresses).await.map_err(|error| {
        let next = if error.kind() == std::io::ErrorKind::ConnectionRefused {
            "; no collector listens there: start one, or this program with --serve"
        } else {
            ""
        };
        format!("cannot connect to {host}:{port}: {error}{next}")
    })?;
    let peer = stream.peer_addr().map_or_else(|_| format!("{host}:{port}"), |peer| peer.to_string());

    let ids = RandomIdGenerator::default();
    let (trace_id, span_id) = (ids.new_trace_id(), ids.new_span_id());
    let body = body(configuration, trace_id, span_id);
    let length = body.len();
    let request =
        request(configuration, body).map_err(|error| format!("the request is not valid: {error}"))?;
    let mut tasks = JoinSet::new();
    let protocol = configuration.protocol;
    let response = match &configuration.tls {
        Some(tls) => exchange(protocol, tls.connect(plain_host, stream).await?, request, &mut tasks).await,
        None => exchange(protocol, stream, request, &mut tasks).await,
    };
    let response = response.map_err(|error| {
        let text = causes(&error);
        let next = hint(configuration, &text);
        format!("{text}{next}")
    })?;
    Ok(SentSpan {
        description: format!("{length} bytes sent to {peer}"),
        protocol: configuration.protocol,
        trace_id,
        response,
        _connection: tasks,
    })
}

async fn exchange(
    protocol: Protocol,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
    tasks: &mut JoinSet<()>,
) -> hyper::Result<Response<Incoming>> {
    if protocol == Protocol::Grpc {
        let (mut sender, connection) =
            conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        // The sender returns the connection's errors.
        tasks.spawn(async move { drop(connection.await) });
        sender.send_request(request).await
    } else {
        let (mut sender, connection) = conn::http1::handshake(TokioIo::new(stream)).await?;
        tasks.spawn(async move { drop(connection.await) });
        sender.send_request(request).await
    }
}

fn request(configuration: &Configuration, body: Bytes) -> http::Result<Request<Full<Bytes>>> {
    let authority = configuration.endpoint.authority().map_or("", |authority| authority.as_str());
    let mut request = Request::builder().method(Method::POST);
    request = match configuration.protocol {
        Protocol::Grpc => request.uri(configuration.endpoint.clone()).header(header::TE, "trailers"),
        _ => {
            let path = configuration.endpoint.path_and_query().map_or("/", |path| path.as_str());
            request.uri(path).header(header::HOST, authority)
        }
    };
    let content_type = match configuration.protocol {
        Protocol::Grpc => "application/grpc",
        Protocol::HttpProtobuf => "application/x-protobuf",
        Protocol::HttpJson => "application/json",
    };
    let mut request = request.header(header::CONTENT_TYPE, content_type).body(Full::new(body))?;
    request.headers_mut().extend(configuration.headers.clone());
    Ok(request)
}

fn body(configuration: &Configuration, trace_id: TraceId, span_id: SpanId) -> Bytes {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
    let name = "otel-waterfall doctor";
    if configuration.protocol == Protocol::HttpJson {
        return serde_json::json!({"resourceSpans": [{
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": configuration.service}}]},
            "scopeSpans": [{"scope": {"name": "otel-waterfall"}, "spans": [{
                "traceId": trace_id.to_string(),
                "spanId": span_id.to_string(),
                "name": name,
                "kind": 1,
                "startTimeUnixNano": (now - 1_000_000).to_string(),
                "endTimeUnixNano": now.to_string(),
            }]}],
        }]})
        .to_string()
        .into();
    }
    let service_name = KeyValue {
        key: "service.name".to_owned(),
        value: Some(AnyValue { value: Some(Value::StringValue(configuration.service.clone())) }),
        ..KeyValue::default()
    };
    let span = Span {
        trace_id: trace_id.to_bytes().to_vec(),
        span_id: span_id.to_bytes().to_vec(),
        name: name.to_owned(),
        kind: 1,
        start_time_unix_nano: now - 1_000_000,
        end_time_unix_nano: now,
        ..Span::default()
    };
    let scope = InstrumentationScope { name: "otel-waterfall".to_owned(), ..InstrumentationScope::default() };
    let resource_spans = vec![ResourceSpans {
        resource: Some(Resource { attributes: vec![service_name], ..Resource::default() }),
        scope_spans: vec![ScopeSpans { scope: Some(scope), spans: vec![span], ..ScopeSpans::default() }],
        ..ResourceSpans::default()
    }];
    let message = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
    if configuration.protocol == Protocol::Grpc { frame(&message) } else { message.into() }
}

impl SentSpan {
    /// Reads the answer; an error is the reason why the collector did not accept the span.
    pub(super) async fn answer(self) -> Result<String, String> {
        let accepted = format!("accepted, trace {}", self.trace_id);
        let (head, body) = self.response.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await;
        let body = body.map_err(|error| format!("the answer ended early: {error}"))?;
        let trailers = body.trailers().cloned().unwrap_or_default();
        let body = body.to_bytes();
        if self.protocol == Protocol::Grpc {
            if head.status != StatusCode::OK {
                return Err(format!("status {}: this is not a gRPC server", head.status));
            }
            let status = grpc_status(&trailers).or_else(|| grpc_status(&head.headers));
            return match status {
                Some((0, _)) => partial(body.get(5..).unwrap_or_default()).map(|()| accepted),
                Some((code, message)) => Err(format!("gRPC status {code}: {message}{}", grpc_hint(code))),
                None => Err("the answer has no gRPC status: this is not a gRPC server".to_owned()),
            };
        }
        if !head.status.is_success() {
            let text = String::from_utf8_lossy(&body[..body.len().min(300)]).trim().to_owned();
            return Err(format!("status {}: {text}{}", head.status, status_hint(head.status)));
        }
        let is_protobuf =
            head.headers.get(header::CONTENT_TYPE).is_some_and(|value| value == "application/x-protobuf");
        if is_protobuf { partial(&body).map(|()| accepted) } else { Ok(accepted) }
    }
}

fn grpc_status(headers: &HeaderMap) -> Option<(u16, String)> {
    let code = headers.get("grpc-status")?.to_str().ok()?.parse().ok()?;
    let message = headers.get("grpc-message").and_then(|value| value.to_str().ok()).unwrap_or_default();
    Some((code, message.to_owned()))
}

/// Returns the reason if the collector rejected the span with a partial success.
fn partial(body: &[u8]) -> Result<(), String> {
    let answer = ExportTraceServiceResponse::decode(body).unwrap_or_default();
    match answer.partial_success {
        Some(partial) if partial.rejected_spans > 0 => {
            Err(format!("the span was rejected: {}", partial.error_message))
        }
        _ => Ok(()),
    }
}

/// Returns the usual cause of a connection that breaks with this error: a port of the other protocol, or a certificate that the
/// peer asks for, which a client of TLS 1.3 learns after its handshake.
fn hint(configuration: &Configuration, error: &str) -> &'static str {
    if error.contains("CertificateRequired") {
        return "; OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY name the files of a client's certificate";
    }
    match (configuration.protocol, configuration.port()) {
        (Protocol::Grpc, 4318) => {
            "; 4318 is the usual port of OTLP over HTTP: OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"
        }
        (Protocol::HttpProtobuf | Protocol::HttpJson, 4317) => {
            "; 4317 is the usual port of OTLP over gRPC: OTEL_EXPORTER_OTLP_PROTOCOL=grpc"
        }
        _ => "; the peer may expect another protocol, or TLS",
    }
}

fn status_hint(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 | 403 => "; OTEL_EXPORTER_OTLP_HEADERS has the credentials",
        404 => {
            "; the path of OTLP is /v1/traces, and OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is used without adding it"
        }
        415 => "; the collector does not accept this OTEL_EXPORTER_OTLP_PROTOCOL",
        429 | 503 => "; the collector is overloaded",
        _ => "",
    }
}

fn grpc_hint(code: u16) -> &'static str {
    match code {
        7 | 16 => "; OTEL_EXPORTER_OTLP_HEADERS has the credentials",
        12 => "; the server has no OTLP receiver for traces",
        8 | 14 => "; the collector is overloaded or unavailable",
        _ => "",
    }
}

fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
