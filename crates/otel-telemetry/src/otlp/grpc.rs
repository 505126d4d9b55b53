//! OTLP over gRPC.
//!
//! Follows [OTLP/gRPC](https://opentelemetry.io/docs/specs/otlp/#otlpgrpc) of the OTLP specification.

use std::error::Error;

use bytes::{Buf, BufMut, Bytes};
use http::HeaderMap;
use http::uri::PathAndQuery;
use tonic::client::Grpc;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use super::backoff::Retry;
use super::sender::{Attempt, Rejection, Transport, one_line};
use crate::config::{Otlp, Signal};
use crate::error::SetupError;
use crate::status::chain;

struct Client {
    client: Grpc<Channel>,
    path: PathAndQuery,
    metadata: MetadataMap,
}

pub(super) fn transport(
    otlp: &Otlp,
    signal: Signal,
    headers: HeaderMap,
) -> Result<Box<dyn Transport>, SetupError> {
    let invalid = |error| SetupError::Exporter { signal, source: Box::new(error) };
    let endpoint = Endpoint::from_shared(otlp.endpoint.clone()).map_err(invalid)?;
    #[cfg(feature = "tls")]
    let endpoint = if otlp.is_encrypted() {
        endpoint.tls_config(otlp.tls.for_grpc()).map_err(invalid)?
    } else {
        endpoint
    };
    #[cfg(not(feature = "tls"))]
    if otlp.is_encrypted() {
        return Err(SetupError::Tls(std::io::Error::new(
            std::io::ErrorKind::Unsupported,
            "an https endpoint needs the feature `tls`",
        )));
    }
    let mut client = Grpc::new(endpoint.connect_lazy());
    if otlp.gzip {
        client =
            client.send_compressed(CompressionEncoding::Gzip).accept_compressed(CompressionEncoding::Gzip);
    }
    let path = PathAndQuery::from_static(match signal {
        Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    });
    Ok(Box::new(Client { client, path, metadata: MetadataMap::from_headers(headers) }))
}

impl Transport for Client {
    fn attempt(&self, body: Bytes) -> Attempt<'_> {
        let mut client = self.client.clone();
        Box::pin(async move {
            client
                .ready()
                .await
                .map_err(|error| Rejection { cause: chain(&error), retry: Retry::Backoff })?;
            let request = Request::from_parts(self.metadata.clone(), tonic::Extensions::default(), body);
            let response = client.unary(request, self.path.clone(), Encoded).await;
            response.map(tonic::Response::into_inner).map_err(|status| rejection(&status))
        })
    }
}

fn rejection(status: &Status) -> Rejection {
    let mut cause = format!("gRPC status {:?}", status.code());
    let message = one_line(status.message());
    if !message.is_empty() {
        cause = format!("{cause}: {message}");
    }
    if let Some(source) = status.source() {
        let source = chain(source);
        if !cause.ends_with(&source) {
            cause = format!("{cause}: {source}");
        }
    }
    Rejection { cause, retry: retry(status) }
}

/// The table of "OTLP/gRPC Response" in the OTLP specification. A status with a source is not from the collector: the
/// connection failed.
fn retry(status: &Status) -> Retry {
    let asked = || status.get_details_retry_info().and_then(|info| info.retry_delay);
    match status.code() {
        Code::ResourceExhausted => asked().map_or(Retry::Never, Retry::After),
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => asked().filter(|delay| !delay.is_zero()).map_or(Retry::Backoff, Retry::After),
        _ if status.source().is_some() => Retry::Backoff,
        _ => Retry::Never,
    }
}

/// A codec for messages that are encoded already.
struct Encoded;

impl Codec for Encoded {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Encoded {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message);
        Ok(())
    }
}

impl Decoder for Encoded {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tonic_types::ErrorDetails;

    use super::*;

    fn with_delay(code: Code, delay: Duration) -> Status {
        Status::with_error_details(code, "busy", ErrorDetails::with_retry_info(Some(delay)))
    }

    #[test]
    fn retryable_status_codes() {
        let codes = (1..=16).map(Code::from);
        let retryable: Vec<_> =
            codes.filter(|code| retry(&Status::new(*code, "")) == Retry::Backoff).collect();
        let expected = [
            Code::Cancelled,
            Code::DeadlineExceeded,
            Code::Aborted,
            Code::OutOfRange,
            Code::Unavailable,
            Code::DataLoss,
        ];
        assert_eq!(retryable, expected);
    }

    #[test]
    fn retry_info_is_a_delay_and_makes_an_exhausted_resource_retryable() {
        let second = Duration::from_secs(1);
        assert_eq!(retry(&with_delay(Code::Unavailable, second)), Retry::After(second));
        assert_eq!(retry(&with_delay(Code::ResourceExhausted, second)), Retry::After(second));
        assert_eq!(retry(&Status::new(Code::ResourceExhausted, "")), Retry::Never);
        assert_eq!(retry(&with_delay(Code::InvalidArgument, second)), Retry::Never);
        assert_eq!(rejection(&with_delay(Code::Unavailable, second)).cause, "gRPC status Unavailable: busy");
    }

    #[test]
    fn the_message_is_one_line_and_bounded() {
        let status = Status::new(Code::InvalidArgument, format!("no\r\n\u{1b}[31msuch {}", "é".repeat(1000)));
        let cause = rejection(&status).cause;
        assert!(cause.starts_with("gRPC status InvalidArgument: no [31msuch é"), "{cause}");
        assert!(cause.len() < 350, "{}", cause.len());
    }

    #[test]
    fn a_failed_connection_is_retryable_under_every_code() {
        let status = Status::from_error(Box::new(std::io::Error::other("reset")));
        assert_eq!(status.code(), Code::Unknown);
        let rejection = rejection(&status);
        assert_eq!(rejection.retry, Retry::Backoff);
        assert_eq!(rejection.cause, "gRPC status Unknown: reset");
    }
}
