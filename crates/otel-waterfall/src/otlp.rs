//! The reader for OTLP JSON, which a collector or a file exporter writes.
//!
//! Follows [OTLP, "JSON Protobuf Encoding"](https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding): keys
//! in lowerCamelCase, ids as hexadecimal digits, 64-bit integers as strings or numbers, enumerations as numbers
//! (names are accepted, too), unknown keys ignored.

use std::sync::Arc;

mod logs;
mod metrics;
#[cfg(feature = "serve")]
pub(crate) mod proto;
mod value;

use opentelemetry::trace::{SpanId, SpanKind, Status};
use serde_json::Value;

use self::value::{
    Problem, Read, at, each, field, problem, read_attributes, read_hex, read_ids, read_number, read_text,
    read_time,
};
use crate::{
    model::{Event, Link, Span, Trace},
    signals::Signals,
};

/// The reason why a text is not valid OTLP JSON.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is not JSON, or is nested too deeply.
    #[error("not JSON")]
    #[non_exhaustive]
    Json {
        /// The error of the JSON parser, with line and column.
        #[source]
        source: serde_json::Error,
    },
    /// The text is JSON, but a field does not conform to OTLP.
    #[error("{place}: {problem}")]
    #[non_exhaustive]
    Field {
        /// The path of the field, for example `resourceSpans[0].scopeSpans[0].spans[2].traceId`.
        place: String,
        /// The description of the problem.
        problem: String,
    },
    /// The text has no JSON document.
    #[error("there is no JSON document")]
    Empty,
}

/// Reads the traces of an `ExportTraceServiceRequest` or `TracesData`, or of several such documents one after the
/// other. The collector's file exporter writes one document a line.
///
/// Spans of one trace are collected from all documents. No limit applies: all spans are returned.
///
/// # Errors
///
/// Returns an error if the text is not JSON or is empty, or if a field that is read does not conform to OTLP; the
/// error names the field.
pub fn from_otlp_json(text: &str) -> Result<Vec<Trace>, Error> {
    let signals = read(text, |document, signals| {
        if field(document, "resourceSpans").is_none() {
            return at("resourceSpans", problem("is missing: this is not an OTLP trace document"));
        }
        read_spans(document, signals)
    })?;
    Ok(Trace::group(signals.spans))
}

/// Reads spans, log records and metrics from documents of any signal, one after the other.
pub(crate) fn read_signals(text: &str) -> Result<Signals, Error> {
    read(text, |document, signals| {
        let names = ["resourceSpans", "resourceLogs", "resourceMetrics"];
        // An export request without any record is an empty object.
        let is_empty = document.as_object().is_some_and(serde_json::Map::is_empty);
        if !is_empty && names.iter().all(|name| field(document, name).is_none()) {
            let text = "has no resourceSpans, resourceLogs or resourceMetrics: this is not OTLP JSON";
            return at("document", problem(text));
        }
        read_spans(document, signals)?;
        logs::read_logs(document, signals)?;
        metrics::read_metrics(document, signals)
    })
}

fn read(text: &str, read_document: impl Fn(&Value, &mut Signals) -> Read<()>) -> Result<Signals, Error> {
    let mut signals = Signals::default();
    let mut documents = 0;
    // Editors of Windows begin a file with a byte order mark, which JSON does not allow (RFC 8259, section 8.1).
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for document in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
        let document = document.map_err(|source| Error::Json { source })?;
        documents += 1;
        read_document(&document, &mut signals).map_err(|problem| {
            let Problem { place, problem } = problem;
            let place = if documents == 1 { place } else { format!("document {documents}: {place}") };
            Error::Field { place, problem }
        })?;
    }
    if documents == 0 { Err(Error::Empty) } else { Ok(signals) }
}

fn read_spans(document: &Value, signals: &mut Signals) -> Read<()> {
    each(document, "resourceSpans", |of_resource| {
        let resource = read_resource(of_resource)?;
        each(of_resource, "scopeSpans", |of_scope| {
            let scope: Arc<str> = match field(of_scope, "scope") {
                Some(scope) => at("scope", read_text(scope, "name"))?.into(),
                None => Arc::default(),
            };
            each(of_scope, "spans", |span| {
                let span = read_span(span, &resource.service)?;
                let span =
                    span.with_resource(Arc::clone(&resource.attributes)).with_scope(Arc::clone(&scope));
                signals.spans.push(span);
                Ok(())
            })
        })
    })
}

struct Resource {
    /// `service.name`; empty if unknown.
    service: Arc<str>,
    attributes: Arc<[(String, String)]>,
}

/// The attribute that tells the processes of a service apart.
const INSTANCE: &str = "service.instance.id";

impl Resource {
    /// Returns the attributes of a series: those of its points in one order, because an SDK may export them in another one each
    /// time, and the instance, because each instance counts for itself.
    fn series(&self, mut attributes: Vec<(String, String)>) -> Vec<(String, String)> {
        attributes.sort();
        attributes.extend(self.attributes.iter().find(|(key, _)| key == INSTANCE).cloned());
        attributes
    }
}

fn read_resource(of: &Value) -> Read<Resource> {
    let attributes = match field(of, "resource") {
        Some(resource) => at("resource", read_attributes(resource))?,
        None => Vec::new(),
    };
    Ok(Resource { service: service_of(&attributes), attributes: attributes.into() })
}

/// Returns the `service.name` of a resource; empty if it has none.
fn service_of(resource: &[(String, String)]) -> Arc<str> {
    // The last one counts.
    let name = resource.iter().rev().find(|(key, _)| key == "service.name");
    name.map_or_else(Arc::default, |(_, value)| value.as_str().into())
}

fn read_span(of: &Value, service: &Arc<str>) -> Read<Span> {
    let (trace_id, span_id) = read_ids(of)?;
    let (start, end) = (read_time(of, "startTimeUnixNano")?, read_time(of, "endTimeUnixNano")?);
    let mut span = Span::new(trace_id, span_id, read_text(of, "name")?, start, end)
        .with_service(Arc::clone(service))
        .with_kind(read_kind(of)?)
        .with_status(at("status", field(of, "status").map_or(Ok(Status::Unset), read_status))?);
    let parent = read_text(of, "parentSpanId")?;
    if !parent.is_empty() {
        let id = at("parentSpanId", read_hex::<8>(&parent))?;
        span.parent = Some(SpanId::from_bytes(id)).filter(|id| *id != SpanId::INVALID);
        span.parent_is_remote = span.parent.is_some() && parent_is_remote(read_number(of, "flags")?);
    }
    span.attributes = read_attributes(of)?;
    each(of, "events", |of| {
        let mut event = Event::new(read_text(of, "name")?, read_time(of, "timeUnixNano")?);
        event.attributes = read_attributes(of)?;
        span.events.push(event);
        Ok(())
    })?;
    each(of, "links", |of| {
        let (trace_id, span_id) = read_ids(of)?;
        let mut link = Link::new(trace_id, span_id);
        link.attributes = read_attributes(of)?;
        span.links.push(link);
        Ok(())
    })?;
    Ok(span)
}

/// Returns true if bit 8 of the flags (the parent's origin is known) and bit 9 (it is remote) are both set.
fn parent_is_remote(flags: Option<u64>) -> bool {
    flags.is_some_and(|flags| flags & 0x300 == 0x300)
}

fn read_kind(of: &Value) -> Read<SpanKind> {
    let Some(value) = field(of, "kind") else { return Ok(SpanKind::Internal) };
    Ok(match (value.as_i64(), value.as_str()) {
        (Some(2), _) | (_, Some("SPAN_KIND_SERVER")) => SpanKind::Server,
        (Some(3), _) | (_, Some("SPAN_KIND_CLIENT")) => SpanKind::Client,
        (Some(4), _) | (_, Some("SPAN_KIND_PRODUCER")) => SpanKind::Producer,
        (Some(5), _) | (_, Some("SPAN_KIND_CONSUMER")) => SpanKind::Consumer,
        // An unknown enumeration number is not an error in Protobuf: a later version may define it.
        (Some(_), _) | (_, Some("SPAN_KIND_INTERNAL" | "SPAN_KIND_UNSPECIFIED")) => SpanKind::Internal,
        _ => return at("kind", problem("is not a span kind")),
    })
}

fn read_status(of: &Value) -> Read<Status> {
    let message = read_text(of, "message")?;
    let Some(code) = field(of, "code") else { return Ok(Status::Unset) };
    Ok(match (code.as_i64(), code.as_str()) {
        (Some(1), _) | (_, Some("STATUS_CODE_OK")) => Status::Ok,
        (Some(2), _) | (_, Some("STATUS_CODE_ERROR")) => Status::error(message),
        (Some(_), _) | (_, Some("STATUS_CODE_UNSET")) => Status::Unset,
        _ => return at("code", problem("is not a status code")),
    })
}
