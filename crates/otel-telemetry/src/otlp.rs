//! The OTLP exporters: one type for the three signals, which encodes a batch once and sends it until the collector
//! has answered.
//!
//! Follows the [OTLP exporter specification](https://opentelemetry.io/docs/specs/otel/protocol/exporter/). The
//! exporters of `opentelemetry-otlp` are not used, because they return neither the status message of a collector nor
//! the number of records that it rejected, and because they read the environment themselves.

mod backoff;
mod grpc;
mod http;
mod sender;

use std::sync::Arc;
use std::time::Duration;

use ::http::{HeaderMap, HeaderValue};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::logs::tonic::group_logs_by_resource_and_scope;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogBatch, LogExporter};
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use prost::Message;

use self::sender::Sender;
use crate::config::{Otlp, Protocol, URLS, is_usable};
use crate::env::header;
use crate::error::SetupError;
use crate::status::ExportStatus;

/// An exporter of one signal.
#[derive(Debug)]
pub(crate) struct OtlpExporter {
    sender: Sender,
    resource: ResourceAttributesWithSchema,
    temporality: Temporality,
}

impl OtlpExporter {
    /// Must be called inside of the runtime on which the exporter is used, because gRPC channels spawn tasks.
    pub(crate) fn new(
        otlp: &Otlp,
        temporality: Temporality,
        status: Arc<ExportStatus>,
    ) -> Result<Self, SetupError> {
        let signal = status.signal();
        let is_tls_missing = otlp.is_encrypted() && cfg!(not(feature = "tls"));
        if !is_usable(&otlp.endpoint, otlp.protocol) && !is_tls_missing {
            let source = format!("the endpoint is not {URLS}").into();
            return Err(SetupError::Exporter { signal, source });
        }
        let headers = headers(otlp)?;
        let transport = match otlp.protocol {
            Protocol::Grpc => grpc::transport(otlp, signal, headers)?,
            Protocol::HttpProtobuf => http::transport(otlp, signal, headers)?,
        };
        let sender = Sender::new(transport, otlp.timeout, otlp.retry_for, status);
        Ok(Self { sender, resource: ResourceAttributesWithSchema::default(), temporality })
    }

    async fn send(&self, request: impl Message) -> OTelSdkResult {
        self.sender.send(request.encode_to_vec().into()).await
    }
}

impl SpanExporter for OtlpExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let resource_spans = group_spans_by_resource_and_scope(batch, &self.resource);
        self.send(ExportTraceServiceRequest { resource_spans }).await
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = resource.into();
    }
}

impl LogExporter for OtlpExporter {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        let resource_logs = group_logs_by_resource_and_scope(&batch, &self.resource);
        self.send(ExportLogsServiceRequest { resource_logs }).await
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = resource.into();
    }
}

impl PushMetricExporter for OtlpExporter {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        self.send(ExportMetricsServiceRequest::from(metrics)).await
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        self.temporality
    }
}

/// Returns the headers of each request. Those from the environment are already valid, so that an error here concerns
/// the code.
fn headers(otlp: &Otlp) -> Result<HeaderMap, SetupError> {
    let agent = HeaderValue::from_static(concat!("OTel-OTLP-Exporter-Rust/", env!("CARGO_PKG_VERSION")));
    let mut headers = HeaderMap::from_iter([(::http::header::USER_AGENT, agent)]);
    for (name, value) in &otlp.headers {
        let (name, value) = header(name, value).ok_or_else(|| SetupError::Header { name: name.clone() })?;
        headers.insert(name, value);
    }
    Ok(headers)
}
