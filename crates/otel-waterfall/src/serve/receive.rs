//! Export requests of OTLP, over gRPC and HTTP.
//!
//! Follows [OTLP, "OTLP/gRPC" and "OTLP/HTTP"](https://opentelemetry.io/docs/specs/otlp/).

use std::{io::Read, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceRequest,
    metrics::v1::ExportMetricsServiceRequest,
    trace::v1::{ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse},
};
use prost::Message;

use super::{Shared, weigh};
use crate::{
    otlp::{proto, read_signals},
    signals::Signals,
};

/// Maximum size of a request as it is sent, and after decompression.
const MAX_BODY: usize = 8 << 20;
const MAX_INFLATED: usize = 32 << 20;
/// Maximum size of its records in memory, without their texts.
const MAX_DECODED: usize = 128 << 20;
/// Timeout of the body of a request.
const BODY: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    Traces,
    Logs,
    Metrics,
}

impl Signal {
    pub(super) fn from_path(path: &str) -> Option<Self> {
        Some(match path {
            "/v1/traces" => Self::Traces,
            "/v1/logs" => Self::Logs,
            "/v1/metrics" => Self::Metrics,
            _ => return None,
        })
    }

    pub(super) fn from_grpc_path(path: &str) -> Option<Self> {
        Some(match path {
            "/opentelemetry.proto.collector.trace.v1.TraceService/Export" => Self::Traces,
            "/opentelemetry.proto.collector.logs.v1.LogsService/Export" => Self::Logs,
            "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export" => Self::Metrics,
            _ => return None,
        })
    }
}

/// The reason why an export request was not accepted.
#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    #[error("the Content-Type is neither application/x-protobuf nor application/json")]
    ContentType,
    #[error("the Content-Encoding is not gzip")]
    Encoding,
    #[error("the body is longer than {MAX_BODY} bytes, or {MAX_INFLATED} bytes after decompression")]
    TooLarge,
    #[error("the body has too many records and attributes: more than {MAX_DECODED} bytes in memory")]
    TooManyRecords,
    #[error("the body did not arrive within {BODY:?}")]
    Slow,
    #[error("the body ended early")]
    Broken,
    #[error("the body is not valid gzip")]
    Gzip,
    #[error("the message is not valid: {0}")]
    Protobuf(#[from] prost::DecodeError),
    #[error("the message is not valid: {0}")]
    Json(#[from] crate::otlp::Error),
    #[error("the body is not UTF-8")]
    Utf8,
    #[error("the method is unknown; this server has the Export methods of OTLP")]
    UnknownMethod,
}

impl Problem {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::ContentType | Self::Encoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge | Self::TooManyRecords => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// Returns the [status code of gRPC](https://grpc.io/docs/guides/status-codes/).
    pub(super) fn grpc_status(&self) -> u16 {
        match self {
            Self::TooLarge | Self::TooManyRecords => 8,
            Self::UnknownMethod | Self::Encoding => 12,
            Self::Slow => 4,
            _ => 3,
        }
    }
}

/// Receives a request over HTTP; returns the content type and the body of the response.
pub(super) async fn receive(
    signal: Signal,
    request: Request<Incoming>,
    shared: &Shared,
) -> Result<(&'static str, Bytes), Problem> {
    let is_json = match content_type(request.headers()) {
        "application/json" => true,
        "application/x-protobuf" => false,
        _ => return Err(Problem::ContentType),
    };
    let encoding = request.headers().get(header::CONTENT_ENCODING).map(|value| value.as_bytes().to_owned());
    let _permit = shared.requests.acquire().await;
    let body = read(request.into_body()).await?;
    let body = match encoding.as_deref() {
        None | Some(b"identity") => body,
        Some(b"gzip") => inflate(&body)?,
        Some(_) => return Err(Problem::Encoding),
    };
    if is_json {
        let text = std::str::from_utf8(&body).map_err(|_| Problem::Utf8)?;
        if weigh::json_size(text, MAX_DECODED) > MAX_DECODED {
            return Err(Problem::TooManyRecords);
        }
        let signals = read_signals(text)?;
        shared.store().add(signals);
        return Ok(("application/json", Bytes::from_static(b"{}")));
    }
    Ok(("application/x-protobuf", export(signal, body, shared)?))
}

/// Receives a unary call of gRPC; returns the message of the response.
pub(super) async fn receive_grpc(
    signal: Signal,
    request: Request<Incoming>,
    shared: &Shared,
) -> Result<Bytes, Problem> {
    let encoding = request.headers().get("grpc-encoding").map(|value| value.as_bytes().to_owned());
    let _permit = shared.requests.acquire().await;
    let mut body = read(request.into_body()).await?;
    if body.len() < 5 {
        return Err(Problem::Broken);
    }
    let prefix = body.split_to(5);
    let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]);
    if body.len() as u64 != u64::from(length) {
        return Err(Problem::Broken);
    }
    let body = match (prefix[0], encoding.as_deref()) {
        (0, _) => body,
        (1, Some(b"gzip")) => inflate(&body)?,
        _ => return Err(Problem::Encoding),
    };
    export(signal, body, shared)
}

fn content_type(headers: &HeaderMap) -> &str {
    let text = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim()
}

async fn read(body: Incoming) -> Result<Bytes, Problem> {
    match tokio::time::timeout(BODY, Limited::new(body, MAX_BODY).collect()).await {
        Err(_) => Err(Problem::Slow),
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(Problem::TooLarge),
        Ok(Err(_)) => Err(Problem::Broken),
    }
}

fn inflate(body: &[u8]) -> Result<Bytes, Problem> {
    let mut out = Vec::new();
    let mut reader = flate2::read::GzDecoder::new(body).take(MAX_INFLATED as u64 + 1);
    reader.read_to_end(&mut out).map_err(|_| Problem::Gzip)?;
    if out.len() > MAX_INFLATED { Err(Problem::TooLarge) } else { Ok(out.into()) }
}

/// Stores the records of a message; returns the response, which names rejected spans.
fn export(signal: Signal, message: Bytes, shared: &Shared) -> Result<Bytes, Problem> {
    if weigh::decoded_size(signal, &message, MAX_DECODED) > MAX_DECODED {
        return Err(Problem::TooManyRecords);
    }
    let mut signals = Signals::default();
    let mut rejected = 0;
    match signal {
        Signal::Traces => {
            let request = ExportTraceServiceRequest::decode(message)?;
            rejected = proto::read_spans(request.resource_spans, &mut signals);
        }
        Signal::Logs => {
            proto::read_logs(ExportLogsServiceRequest::decode(message)?.resource_logs, &mut signals)
        }
        Signal::Metrics => {
            let request = ExportMetricsServiceRequest::decode(message)?;
            proto::read_metrics(request.resource_metrics, &mut signals);
        }
    }
    shared.store().add(signals);
    if rejected == 0 {
        // The responses of all signals are empty messages.
        return Ok(Bytes::new());
    }
    let partial_success = Some(ExportTracePartialSuccess {
        rejected_spans: i64::try_from(rejected).unwrap_or(i64::MAX),
        error_message: "trace or span ids are not valid".to_owned(),
    });
    Ok(ExportTraceServiceResponse { partial_success }.encode_to_vec().into())
}
