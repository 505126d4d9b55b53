//! Log records of OTLP JSON.

use std::sync::Arc;

use opentelemetry::trace::{SpanId, TraceId};
use serde_json::Value;

use super::{
    read_resource,
    value::{
        Read, at, each, field, read_attributes, read_hex, read_number, read_text, read_time, write_value,
    },
};
use crate::signals::{LogRecord, Signals};

pub(super) fn read_logs(document: &Value, signals: &mut Signals) -> Read<()> {
    each(document, "resourceLogs", |of_resource| {
        let resource = read_resource(of_resource)?;
        each(of_resource, "scopeLogs", |of_scope| {
            each(of_scope, "logRecords", |of| {
                signals.logs.push(read_record(of, &resource.service)?);
                Ok(())
            })
        })
    })
}

fn read_record(of: &Value, service: &Arc<str>) -> Read<LogRecord> {
    let severity = read_severity(of)?;
    let mut level = read_text(of, "severityText")?;
    if level.is_empty() {
        LogRecord::level_of(severity).clone_into(&mut level);
    }
    let mut body = String::new();
    if let Some(value) = field(of, "body") {
        at("body", write_value(value, &mut body))?;
    }
    let time = match read_time(of, "timeUnixNano")? {
        0 => read_time(of, "observedTimeUnixNano")?,
        time => time,
    };
    let (trace_id, span_id) = (read_text(of, "traceId")?, read_text(of, "spanId")?);
    Ok(LogRecord {
        time,
        severity,
        level,
        body,
        service: Arc::clone(service),
        attributes: read_attributes(of)?,
        trace_id: match trace_id.as_str() {
            "" => None,
            id => {
                Some(TraceId::from_bytes(at("traceId", read_hex(id))?)).filter(|id| *id != TraceId::INVALID)
            }
        },
        span_id: match span_id.as_str() {
            "" => None,
            id => Some(SpanId::from_bytes(at("spanId", read_hex(id))?)).filter(|id| *id != SpanId::INVALID),
        },
    })
}

/// Reads a severity number; names of the enumeration are accepted, and unknown ones count as unspecified.
fn read_severity(of: &Value) -> Read<u8> {
    let Some(Value::String(name)) = field(of, "severityNumber") else {
        let number = read_number(of, "severityNumber")?.unwrap_or(0);
        return Ok(u8::try_from(number).unwrap_or(0));
    };
    let name = name.trim_start_matches("SEVERITY_NUMBER_");
    let (level, step) = name.split_at(name.trim_end_matches(|c: char| c.is_ascii_digit()).len());
    let first = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"].iter().position(|one| *one == level);
    Ok(first.map_or(0, |first| first as u8 * 4 + step.parse::<u8>().map_or(1, |step| step.clamp(1, 4))))
}
