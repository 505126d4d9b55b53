//! The data of the demo, as OTLP JSON: a shop of nine services, an import of 2,000 spans with one failure, log records
//! and metrics. The numbers are pseudo-random and the same at each run.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

mod import;
mod shop;

/// Writes spans, log records and metrics that end at `now`, in nanoseconds since the Unix epoch.
pub(crate) fn otlp_json(now: u64) -> String {
    let mut data = Data { now, ids: 0x0dd0_5eed, spans: Vec::new(), logs: Vec::new() };
    shop::orders(&mut data);
    import::catalogue(&mut data);
    let metrics = shop::metrics(&mut data);
    let mut documents = [data.export(), metrics].map(|document| document.to_string());
    for document in &mut documents {
        document.push('\n');
    }
    documents.concat()
}

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

const MICROSECOND: u64 = 1_000;
const MILLISECOND: u64 = 1_000 * MICROSECOND;
const SECOND: u64 = 1_000 * MILLISECOND;

/// The kinds of spans, as OTLP numbers them.
const INTERNAL: u8 = 1;
const SERVER: u8 = 2;
const CLIENT: u8 = 3;
const PRODUCER: u8 = 4;
const CONSUMER: u8 = 5;

struct Data {
    now: u64,
    ids: u64,
    spans: Vec<(&'static str, Value)>,
    logs: Vec<(&'static str, Value)>,
}

/// The place of a new span.
#[derive(Clone)]
struct Place {
    trace: String,
    parent: Option<String>,
    is_remote: bool,
}

impl Place {
    /// A place below a span, in the same service.
    fn below(&self, span: &str) -> Self {
        Self { trace: self.trace.clone(), parent: Some(span.to_owned()), is_remote: false }
    }

    /// A place below a span of another service.
    fn remote(&self, span: &str) -> Self {
        Self { is_remote: true, ..self.below(span) }
    }
}

/// A span to be added.
struct NewSpan<'a> {
    service: &'static str,
    name: &'a str,
    kind: u8,
    start: u64,
    length: u64,
    attributes: Value,
}

impl Data {
    /// Returns a pseudo-random number below `end` (xorshift).
    fn random(&mut self, end: u64) -> u64 {
        self.ids ^= self.ids << 13;
        self.ids ^= self.ids >> 7;
        self.ids ^= self.ids << 17;
        self.ids % end.max(1)
    }

    fn id(&mut self) -> String {
        format!("{:016x}", self.random(u64::MAX).max(1))
    }

    fn root(&mut self) -> Place {
        Place { trace: self.id() + &self.id(), parent: None, is_remote: false }
    }

    /// Adds a span and returns its id.
    fn span(&mut self, place: &Place, new: NewSpan<'_>) -> String {
        let id = self.id();
        let mut span = json!({
            "traceId": place.trace,
            "spanId": id,
            "name": new.name,
            "kind": new.kind,
            "startTimeUnixNano": new.start.to_string(),
            "endTimeUnixNano": (new.start + new.length).to_string(),
            "flags": if place.is_remote { 0x301 } else { 0x101 },
            "attributes": pairs(&new.attributes),
        });
        if let Some(parent) = &place.parent {
            span["parentSpanId"] = parent.as_str().into();
        }
        self.spans.push((new.service, span));
        id
    }

    /// Marks the last span as failed, with its first `error.type` if it has one already.
    fn fail(&mut self, error_type: &str, message: &str) {
        if let Some((_, span)) = self.spans.last_mut() {
            span["status"] = json!({"code": 2, "message": message});
            if let Some(attributes) = span["attributes"].as_array_mut()
                && attributes.iter().all(|attribute| attribute["key"] != "error.type")
            {
                attributes.push(json!({"key": "error.type", "value": {"stringValue": error_type}}));
            }
        }
    }

    /// Adds an event to the last span.
    fn event(&mut self, name: &str, at: u64, attributes: &Value) {
        let event = json!({"name": name, "timeUnixNano": at.to_string(), "attributes": pairs(attributes)});
        self.append("events", event);
    }

    /// Adds a link to the last span.
    fn link(&mut self, trace: &str, span: &str) {
        self.append("links", json!({"traceId": trace, "spanId": span}));
    }

    fn append(&mut self, key: &str, item: Value) {
        if let Some((_, span)) = self.spans.last_mut() {
            match span[key].as_array_mut() {
                Some(items) => items.push(item),
                None => span[key] = json!([item]),
            }
        }
    }

    fn log(&mut self, service: &'static str, at: u64, severity: u8, body: &str, place: &Place) {
        let record = json!({
            "timeUnixNano": at.to_string(),
            "severityNumber": severity,
            "body": {"stringValue": body},
            "traceId": place.trace,
            "spanId": place.parent,
        });
        self.logs.push((service, record));
    }

    fn export(self) -> Value {
        let mut services: Vec<&str> =
            self.spans.iter().chain(&self.logs).map(|(service, _)| *service).collect();
        services.sort_unstable();
        services.dedup();
        let of = |records: &[(&str, Value)], service: &str| -> Vec<Value> {
            records.iter().filter(|(of, _)| *of == service).map(|(_, record)| record.clone()).collect()
        };
        let scope = json!({"name": "otel-waterfall demo"});
        let spans: Vec<_> = services
            .iter()
            .map(|service| {
                let spans = of(&self.spans, service);
                json!({"resource": resource(service), "scopeSpans": [{"scope": scope, "spans": spans}]})
            })
            .collect();
        let logs: Vec<_> = services
            .iter()
            .map(|service| {
                let records = of(&self.logs, service);
                json!({"resource": resource(service), "scopeLogs": [{"scope": scope, "logRecords": records}]})
            })
            .collect();
        json!({"resourceSpans": spans, "resourceLogs": logs})
    }
}

fn resource(service: &str) -> Value {
    json!({"attributes": pairs(&json!({
        "service.name": service,
        "service.version": "1.4.2",
        "deployment.environment.name": "demo",
        "host.name": format!("{service}-7c9f"),
    }))})
}

/// Returns the fields of an object as attributes of OTLP.
fn pairs(object: &Value) -> Value {
    let fields = object.as_object().into_iter().flatten();
    fields
        .map(|(key, value)| {
            let value = match value {
                Value::Number(number) if number.is_i64() => json!({"intValue": number.to_string()}),
                Value::Bool(value) => json!({"boolValue": value}),
                Value::String(text) => json!({"stringValue": text}),
                other => json!({"stringValue": other.to_string()}),
            };
            json!({"key": key, "value": value})
        })
        .collect()
}
