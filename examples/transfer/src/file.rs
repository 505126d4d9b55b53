//! A span exporter that appends a line of OTLP JSON to a file as soon as a span ends, so that the span survives a
//! crash. Several processes can write to the same file.
//!
//! Implements <https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding> and
//! <https://opentelemetry.io/docs/specs/otel/protocol/file-exporter/#json-file-serialization>.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status};
use opentelemetry::{Array, Key, KeyValue, Value as Attribute};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use serde_json::{Value, json};

/// The exporter of one service.
#[derive(Debug)]
pub(crate) struct FileExporter {
    file: File,
    service: String,
}

impl FileExporter {
    pub(crate) fn open(path: &Path) -> std::io::Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        Ok(Self { file, service: String::new() })
    }
}

impl SpanExporter for FileExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans: Vec<_> = batch.iter().map(span).collect();
        let resource =
            json!({ "attributes": attributes(&[KeyValue::new("service.name", self.service.clone())]) });
        let scopes = json!([{ "spans": spans }]);
        let line = json!({ "resourceSpans": [{ "resource": resource, "scopeSpans": scopes }] });
        // One `write` call per line, so that lines of several processes do not interleave.
        let written = (&self.file).write_all(format!("{line}\n").as_bytes());
        written.map_err(|error| OTelSdkError::InternalFailure(error.to_string()))
    }

    fn set_resource(&mut self, resource: &Resource) {
        if let Some(name) = resource.get(&Key::from_static_str("service.name")) {
            self.service = name.to_string();
        }
    }
}

fn span(span: &SpanData) -> Value {
    let mut json = ids(&span.span_context);
    if span.parent_span_id != SpanId::INVALID {
        json["parentSpanId"] = span.parent_span_id.to_string().into();
        // Bit 8: the remote flag is valid; bit 9: the parent is remote.
        let remote = if span.parent_span_is_remote { 0x300 } else { 0x100 };
        json["flags"] = (remote | u32::from(span.span_context.trace_flags().to_u8())).into();
    }
    json["name"] = span.name.as_ref().into();
    json["kind"] = kind(&span.span_kind).into();
    json["startTimeUnixNano"] = nanos(span.start_time).into();
    json["endTimeUnixNano"] = nanos(span.end_time).into();
    json["attributes"] = attributes(&span.attributes);
    json["events"] = span
        .events
        .iter()
        .map(|event| {
            json!({ "name": event.name, "timeUnixNano": nanos(event.timestamp), "attributes": attributes(&event.attributes) })
        })
        .collect();
    json["links"] = span
        .links
        .iter()
        .map(|link| {
            let mut json = ids(&link.span_context);
            json["attributes"] = attributes(&link.attributes);
            json
        })
        .collect();
    json["status"] = match &span.status {
        Status::Unset => json!({}),
        Status::Ok => json!({ "code": 1 }),
        Status::Error { description } => json!({ "code": 2, "message": description }),
    };
    json
}

fn ids(context: &SpanContext) -> Value {
    json!({ "traceId": context.trace_id().to_string(), "spanId": context.span_id().to_string() })
}

fn kind(kind: &SpanKind) -> u8 {
    match kind {
        SpanKind::Internal => 1,
        SpanKind::Server => 2,
        SpanKind::Client => 3,
        SpanKind::Producer => 4,
        SpanKind::Consumer => 5,
    }
}

/// Formats a time as a string, because OTLP JSON encodes 64-bit integers as strings.
fn nanos(time: SystemTime) -> String {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos().to_string()
}

fn attributes(pairs: &[KeyValue]) -> Value {
    pairs.iter().map(|pair| json!({ "key": pair.key.as_str(), "value": value(&pair.value) })).collect()
}

fn value(value: &Attribute) -> Value {
    match value {
        Attribute::Bool(value) => json!({ "boolValue": value }),
        Attribute::I64(value) => json!({ "intValue": value.to_string() }),
        Attribute::F64(value) => json!({ "doubleValue": value }),
        Attribute::Array(Array::String(values)) => {
            let values: Vec<_> =
                values.iter().map(|value| json!({ "stringValue": value.as_str() })).collect();
            json!({ "arrayValue": { "values": values } })
        }
        // This program has no other arrays; they would be exported as text.
        other => json!({ "stringValue": other.as_str() }),
    }
}
