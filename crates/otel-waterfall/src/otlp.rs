//! The reader for OTLP JSON, which a collector or a file exporter writes.
//!
//! Follows [OTLP, "JSON Protobuf Encoding"](https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding): keys
//! in lowerCamelCase, ids as hexadecimal digits, 64-bit integers as strings or numbers, enumerations as numbers
//! (names are accepted, too), unknown keys ignored.

use std::sync::Arc;

use opentelemetry::trace::{SpanId, SpanKind, Status, TraceId};
use serde_json::Value;

use crate::model::{Event, Link, Span, Trace};

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
    let mut spans = Vec::new();
    let mut documents = 0;
    for document in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
        let document = document.map_err(|source| Error::Json { source })?;
        documents += 1;
        read_document(&document, &mut spans).map_err(|problem| {
            let Problem { place, problem } = problem;
            let place = if documents == 1 { place } else { format!("document {documents}: {place}") };
            Error::Field { place, problem }
        })?;
    }
    if documents == 0 { Err(Error::Empty) } else { Ok(Trace::group(spans)) }
}

/// An error whose path is incomplete: each caller prepends its own key or index.
#[derive(Debug)]
struct Problem {
    place: String,
    problem: String,
}

type Read<T> = Result<T, Problem>;

fn problem<T>(problem: impl Into<String>) -> Read<T> {
    Err(Problem { place: String::new(), problem: problem.into() })
}

fn at<T>(key: &str, result: Read<T>) -> Read<T> {
    result.map_err(|mut error| {
        let dot = if error.place.is_empty() || error.place.starts_with('[') { "" } else { "." };
        error.place = format!("{key}{dot}{}", error.place);
        error
    })
}

/// Returns a field; null counts as absent.
fn field<'a>(of: &'a Value, key: &str) -> Option<&'a Value> {
    of.get(key).filter(|value| !value.is_null())
}

/// Calls `read` for each object of an array; the array may be absent.
fn each(of: &Value, key: &str, mut read: impl FnMut(&Value) -> Read<()>) -> Read<()> {
    let Some(array) = field(of, key) else { return Ok(()) };
    let Some(items) = array.as_array() else { return at(key, problem("is not an array")) };
    for (number, item) in items.iter().enumerate() {
        let result = if item.is_object() { read(item) } else { problem("is not an object") };
        at(key, at(&format!("[{number}]"), result))?;
    }
    Ok(())
}

fn read_document(document: &Value, spans: &mut Vec<Span>) -> Read<()> {
    if field(document, "resourceSpans").is_none() {
        return at("resourceSpans", problem("is missing: this is not an OTLP trace document"));
    }
    each(document, "resourceSpans", |of_resource| {
        let mut service: Arc<str> = Arc::default();
        if let Some(resource) = field(of_resource, "resource") {
            for (key, value) in at("resource", read_attributes(resource))? {
                if key == "service.name" {
                    service = value.into();
                }
            }
        }
        each(of_resource, "scopeSpans", |of_scope| {
            each(of_scope, "spans", |span| {
                spans.push(read_span(span, &service)?);
                Ok(())
            })
        })
    })
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

fn read_ids(of: &Value) -> Read<(TraceId, SpanId)> {
    let (trace_id, span_id) = (read_text(of, "traceId")?, read_text(of, "spanId")?);
    let trace_id = at("traceId", read_hex::<16>(&trace_id))?;
    let span_id = at("spanId", read_hex::<8>(&span_id))?;
    if trace_id == [0; 16] {
        return at("traceId", problem("is all zeros"));
    }
    if span_id == [0; 8] {
        return at("spanId", problem("is all zeros"));
    }
    Ok((TraceId::from_bytes(trace_id), SpanId::from_bytes(span_id)))
}

fn read_hex<const N: usize>(text: &str) -> Read<[u8; N]> {
    let digits = text.as_bytes();
    let wrong = || problem(format!("is not {} hexadecimal digits", 2 * N));
    if digits.len() != 2 * N {
        return wrong();
    }
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        for &digit in pair {
            let Some(value) = char::from(digit).to_digit(16) else { return wrong() };
            *byte = *byte << 4 | value as u8;
        }
    }
    Ok(out)
}

fn read_text(of: &Value, key: &str) -> Read<String> {
    match field(of, key) {
        None => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => at(key, problem("is not a string")),
    }
}

/// Reads a time in nanoseconds since the Unix epoch; an absent field is zero, as in Protobuf.
fn read_time(of: &Value, key: &str) -> Read<u64> {
    Ok(read_number(of, key)?.unwrap_or(0))
}

fn read_number(of: &Value, key: &str) -> Read<Option<u64>> {
    let Some(value) = field(of, key) else { return Ok(None) };
    let number = match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64(),
    };
    match number {
        Some(number) => Ok(Some(number)),
        None => at(key, problem("is not a whole number from 0 to 18446744073709551615")),
    }
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

fn read_attributes(of: &Value) -> Read<Vec<(String, String)>> {
    let mut out = Vec::new();
    each(of, "attributes", |pair| {
        let mut text = String::new();
        if let Some(value) = field(pair, "value") {
            at("value", write_value(value, &mut text))?;
        }
        out.push((read_text(pair, "key")?, text));
        Ok(())
    })?;
    Ok(out)
}

/// Writes an `AnyValue` as text. The recursion is bounded, because the JSON parser allows at most 128 levels.
fn write_value(value: &Value, out: &mut String) -> Read<()> {
    let Some(fields) = value.as_object() else { return problem("is not an object") };
    let Some((kind, value)) = fields.iter().find(|(_, value)| !value.is_null()) else { return Ok(()) };
    let text = match (kind.as_str(), value) {
        ("stringValue" | "bytesValue", Value::String(text)) => text.clone(),
        ("boolValue", Value::Bool(value)) => value.to_string(),
        ("intValue", Value::Number(number)) => number.to_string(),
        ("intValue", Value::String(text)) if text.parse::<i64>().is_ok() => text.clone(),
        ("doubleValue", Value::Number(number)) => number.to_string(),
        ("doubleValue", Value::String(text)) if text.parse::<f64>().is_ok() => text.clone(),
        ("arrayValue", Value::Object(_)) => {
            out.push('[');
            at(kind, each_value(value, out, write_value))?;
            out.push(']');
            return Ok(());
        }
        ("kvlistValue", Value::Object(_)) => {
            out.push('{');
            let pairs = each_value(value, out, |pair, out| {
                out.push_str(&read_text(pair, "key")?);
                out.push('=');
                field(pair, "value").map_or(Ok(()), |value| at("value", write_value(value, out)))
            });
            at(kind, pairs)?;
            out.push('}');
            return Ok(());
        }
        (
            "stringValue" | "bytesValue" | "boolValue" | "intValue" | "doubleValue" | "arrayValue"
            | "kvlistValue",
            _,
        ) => return at(kind, problem("is of the wrong type")),
        _ => return Ok(()),
    };
    out.push_str(&text);
    Ok(())
}

fn each_value(
    of: &Value,
    out: &mut String,
    mut write: impl FnMut(&Value, &mut String) -> Read<()>,
) -> Read<()> {
    let mut first = true;
    each(of, "values", |item| {
        if !std::mem::take(&mut first) {
            out.push_str(", ");
        }
        write(item, out)
    })
}
