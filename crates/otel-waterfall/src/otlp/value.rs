//! Readers for the values of OTLP JSON, with the path of each error.

use opentelemetry::trace::{SpanId, TraceId};
use serde_json::Value;

/// An error whose path is incomplete: each caller prepends its own key or index.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) place: String,
    pub(super) problem: String,
}

pub(super) type Read<T> = Result<T, Problem>;

pub(super) fn problem<T>(problem: impl Into<String>) -> Read<T> {
    Err(Problem { place: String::new(), problem: problem.into() })
}

pub(super) fn at<T>(key: &str, result: Read<T>) -> Read<T> {
    result.map_err(|mut error| {
        let dot = if error.place.is_empty() || error.place.starts_with('[') { "" } else { "." };
        error.place = format!("{key}{dot}{}", error.place);
        error
    })
}

/// Returns a field; null counts as absent.
pub(super) fn field<'a>(of: &'a Value, key: &str) -> Option<&'a Value> {
    of.get(key).filter(|value| !value.is_null())
}

/// Calls `read` for each object of an array; the array may be absent.
pub(super) fn each(of: &Value, key: &str, mut read: impl FnMut(&Value) -> Read<()>) -> Read<()> {
    let Some(array) = field(of, key) else { return Ok(()) };
    let Some(items) = array.as_array() else { return at(key, problem("is not an array")) };
    for (number, item) in items.iter().enumerate() {
        let result = if item.is_object() { read(item) } else { problem("is not an object") };
        at(key, at(&format!("[{number}]"), result))?;
    }
    Ok(())
}

pub(super) fn read_ids(of: &Value) -> Read<(TraceId, SpanId)> {
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

pub(super) fn read_hex<const N: usize>(text: &str) -> Read<[u8; N]> {
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

pub(super) fn read_text(of: &Value, key: &str) -> Read<String> {
    match field(of, key) {
        None => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => at(key, problem("is not a string")),
    }
}

/// Reads a time in nanoseconds since the Unix epoch; an absent field is zero, as in Protobuf.
pub(super) fn read_time(of: &Value, key: &str) -> Read<u64> {
    Ok(read_number(of, key)?.unwrap_or(0))
}

pub(super) fn read_number(of: &Value, key: &str) -> Read<Option<u64>> {
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

pub(super) fn read_attributes(of: &Value) -> Read<Vec<(String, String)>> {
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
pub(super) fn write_value(value: &Value, out: &mut String) -> Read<()> {
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

pub(super) fn each_value(
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
