//! The OTLP exporters, built from resolved options without access to the environment.
//!
//! Follows the [OTLP exporter specification](https://opentelemetry.io/docs/specs/otel/protocol/exporter/). The
//! functions must be called inside the export runtime, because gRPC channels spawn tasks.

use http::{HeaderMap, HeaderName, HeaderValue};
use hyper_util::client::legacy::connect::HttpConnector;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_otlp::{
    Compression, ExporterBuildError, LogExporter, MetricExporter, SpanExporter, WithExportConfig,
    WithHttpConfig, WithTonicConfig,
};
use opentelemetry_sdk::metrics::Temporality;

use crate::config::{Otlp, Protocol, Signal};
use crate::error::SetupError;
use crate::headers::{WithHeaders, interceptor};

pub(crate) fn spans(otlp: &Otlp) -> Result<SpanExporter, SetupError> {
    let built = match otlp.protocol {
        Protocol::Grpc => grpc(SpanExporter::builder().with_tonic(), otlp)?.build(),
        Protocol::HttpProtobuf => http(SpanExporter::builder().with_http(), otlp)?.build(),
    };
    built.map_err(of(Signal::Traces))
}

pub(crate) fn logs(otlp: &Otlp) -> Result<LogExporter, SetupError> {
    let built = match otlp.protocol {
        Protocol::Grpc => grpc(LogExporter::builder().with_tonic(), otlp)?.build(),
        Protocol::HttpProtobuf => http(LogExporter::builder().with_http(), otlp)?.build(),
    };
    built.map_err(of(Signal::Logs))
}

pub(crate) fn metrics(otlp: &Otlp, temporality: Temporality) -> Result<MetricExporter, SetupError> {
    let builder = MetricExporter::builder().with_temporality(temporality);
    let built = match otlp.protocol {
        Protocol::Grpc => grpc(builder.with_tonic(), otlp)?.build(),
        Protocol::HttpProtobuf => http(builder.with_http(), otlp)?.build(),
    };
    built.map_err(of(Signal::Metrics))
}

fn of(signal: Signal) -> impl FnOnce(ExporterBuildError) -> SetupError {
    move |source| SetupError::Exporter { signal, source }
}

fn grpc<B: WithTonicConfig + WithExportConfig>(builder: B, otlp: &Otlp) -> Result<B, SetupError> {
    let headers = interceptor(headers(otlp)?);
    let builder = builder.with_endpoint(&otlp.endpoint).with_timeout(otlp.timeout).with_interceptor(headers);
    #[cfg(feature = "tls")]
    let builder = if otlp.is_encrypted() { builder.with_tls_config(otlp.tls.for_grpc()) } else { builder };
    Ok(if otlp.gzip { builder.with_compression(Compression::Gzip) } else { builder })
}

fn http<B: WithHttpConfig + WithExportConfig>(builder: B, otlp: &Otlp) -> Result<B, SetupError> {
    let headers = headers(otlp)?;
    let builder = builder
        .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
        .with_endpoint(&otlp.endpoint)
        .with_timeout(otlp.timeout);
    let builder = if otlp.is_encrypted() {
        #[cfg(feature = "tls")]
        {
            let connector = hyper_rustls::HttpsConnectorBuilder::new()
                .with_tls_config(otlp.tls.for_http().map_err(SetupError::Tls)?)
                .https_only()
                .enable_http1()
                .build();
            builder.with_http_client(WithHeaders {
                client: HyperClient::new(connector, otlp.timeout, None),
                headers,
            })
        }
        #[cfg(not(feature = "tls"))]
        return Err(SetupError::Tls(std::io::Error::new(
            std::io::ErrorKind::Unsupported,
            "an https endpoint needs the feature `tls`",
        )));
    } else {
        let client = HyperClient::new(HttpConnector::new(), otlp.timeout, None);
        builder.with_http_client(WithHeaders { client, headers })
    };
    Ok(if otlp.gzip { builder.with_compression(Compression::Gzip) } else { builder })
}

/// Validates the headers, because the exporters silently drop invalid ones. Those from the environment are already
/// valid, so that an error here concerns the code.
fn headers(otlp: &Otlp) -> Result<HeaderMap, SetupError> {
    let header = |(name, value): (&String, &String)| {
        let found = HeaderName::try_from(name).ok().zip(HeaderValue::try_from(value).ok());
        found.ok_or_else(|| SetupError::Header { name: name.clone() })
    };
    otlp.headers.iter().map(header).collect()
}
