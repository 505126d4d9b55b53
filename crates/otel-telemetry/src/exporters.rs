//! The exporters themselves, built from decided options; nothing here looks at the environment.
//!
//! Follows the OpenTelemetry specification, "OpenTelemetry Protocol Exporter". Must be called inside the export runtime,
//! where gRPC channels start their tasks.

use http::{HeaderMap, HeaderName, HeaderValue};
use hyper_util::client::legacy::connect::HttpConnector;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_otlp::tonic_types::metadata::MetadataMap;
use opentelemetry_otlp::{
    Compression, ExporterBuildError, LogExporter, MetricExporter, SpanExporter, WithExportConfig,
    WithHttpConfig, WithTonicConfig,
};
use opentelemetry_sdk::metrics::Temporality;

use crate::config::{Otlp, Protocol, Signal};
use crate::error::SetupError;

pub(crate) fn spans(otlp: &Otlp) -> Result<SpanExporter, SetupError> {
    let built = match otlp.protocol {
        Protocol::Grpc => grpc(SpanExporter::builder().with_tonic(), otlp).build(),
        Protocol::HttpProtobuf => http(SpanExporter::builder().with_http(), otlp)?.build(),
    };
    built.map_err(of(Signal::Traces))
}

pub(crate) fn logs(otlp: &Otlp) -> Result<LogExporter, SetupError> {
    let built = match otlp.protocol {
        Protocol::Grpc => grpc(LogExporter::builder().with_tonic(), otlp).build(),
        Protocol::HttpProtobuf => http(LogExporter::builder().with_http(), otlp)?.build(),
    };
    built.map_err(of(Signal::Logs))
}

pub(crate) fn metrics(otlp: &Otlp, temporality: Temporality) -> Result<MetricExporter, SetupError> {
    let builder = MetricExporter::builder().with_temporality(temporality);
    let built = match otlp.protocol {
        Protocol::Grpc => grpc(builder.with_tonic(), otlp).build(),
        Protocol::HttpProtobuf => http(builder.with_http(), otlp)?.build(),
    };
    built.map_err(of(Signal::Metrics))
}

fn of(signal: Signal) -> impl FnOnce(ExporterBuildError) -> SetupError {
    move |source| SetupError::Exporter { signal, source }
}

fn grpc<B: WithTonicConfig + WithExportConfig>(builder: B, otlp: &Otlp) -> B {
    let builder =
        builder.with_endpoint(&otlp.endpoint).with_timeout(otlp.timeout).with_metadata(metadata(otlp));
    #[cfg(feature = "tls")]
    let builder = if otlp.is_encrypted() {
        builder.with_tls_config(
            opentelemetry_otlp::tonic_types::transport::ClientTlsConfig::new().with_native_roots(),
        )
    } else {
        builder
    };
    if otlp.gzip { builder.with_compression(Compression::Gzip) } else { builder }
}

fn http<B: WithHttpConfig + WithExportConfig>(builder: B, otlp: &Otlp) -> Result<B, SetupError> {
    let builder = builder
        .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
        .with_endpoint(&otlp.endpoint)
        .with_timeout(otlp.timeout)
        .with_headers(otlp.headers.clone());
    let builder = if otlp.is_encrypted() {
        #[cfg(feature = "tls")]
        {
            let connector = hyper_rustls::HttpsConnectorBuilder::new()
                .with_provider_and_native_roots(rustls::crypto::ring::default_provider())
                .map_err(SetupError::Tls)?
                .https_only()
                .enable_http1()
                .build();
            builder.with_http_client(HyperClient::new(connector, otlp.timeout, None))
        }
        #[cfg(not(feature = "tls"))]
        return Err(SetupError::Tls(std::io::Error::new(
            std::io::ErrorKind::Unsupported,
            "an https endpoint needs the feature `tls`",
        )));
    } else {
        builder.with_http_client(HyperClient::new(HttpConnector::new(), otlp.timeout, None))
    };
    Ok(if otlp.gzip { builder.with_compression(Compression::Gzip) } else { builder })
}

/// The headers as gRPC metadata. What cannot be a header is left out, as the exporter over HTTP does it.
fn metadata(otlp: &Otlp) -> MetadataMap {
    let headers: HeaderMap = otlp
        .headers
        .iter()
        .filter_map(|(name, value)| {
            Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?))
        })
        .collect();
    MetadataMap::from_headers(headers)
}
