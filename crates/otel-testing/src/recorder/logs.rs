//! The log records of a recorder.
//!
//! Follows <https://opentelemetry.io/docs/specs/otel/logs/sdk/#logrecordprocessor>.

use std::{
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use opentelemetry::{InstrumentationScope, KeyValue, Value, logs::AnyValue};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    logs::{LogProcessor, SdkLogRecord, SdkLoggerProvider},
};

use super::Recorder;
use crate::normalize;

/// The log records so far, in the order in which they were emitted.
#[derive(Clone, Debug, Default)]
pub(super) struct LogRecords(Arc<Mutex<Vec<SdkLogRecord>>>);

impl LogRecords {
    fn lock(&self) -> MutexGuard<'_, Vec<SdkLogRecord>> {
        // No code that can panic runs under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogProcessor for LogRecords {
    fn emit(&self, record: &mut SdkLogRecord, _: &InstrumentationScope) {
        self.lock().push(record.clone());
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

impl Recorder {
    /// Returns the logger provider for the bridge of the code under test, such as that of `opentelemetry-appender-tracing`.
    #[must_use]
    pub fn logger_provider(&self) -> &SdkLoggerProvider {
        &self.logger_provider
    }

    /// Returns the log records so far, in the order in which they were emitted.
    #[must_use]
    pub fn log_records(&self) -> Vec<SdkLogRecord> {
        self.log_records.lock().clone()
    }

    /// Returns the log records as text: severity, body, event name, the span that was current, and the sorted attributes.
    /// Ids and times are left out.
    #[must_use]
    pub fn logs(&self) -> String {
        let mut out = String::new();
        for record in self.log_records() {
            let severity =
                record.severity_text().or(record.severity_number().map(|severity| severity.name()));
            out.push_str(severity.unwrap_or("UNSPECIFIED"));
            if let Some(body) = record.body() {
                let _ = write!(out, " {}", text("", body));
            }
            if let Some(event) = record.event_name() {
                let _ = write!(out, "  event {event}");
            }
            if let Some(context) = record.trace_context() {
                let name = self.span_log().lock().entry(context.span_id).map(|entry| entry.name.clone());
                let _ = write!(out, "  in {}", name.as_deref().unwrap_or("a span that is not recorded"));
            }
            out.push('\n');
            let mut attributes: Vec<_> = record
                .attributes_iter()
                .map(|(key, value)| (key.as_str(), text(key.as_str(), value)))
                .collect();
            attributes.sort();
            for (key, value) in attributes {
                let _ = writeln!(out, "    {key}: {value}");
            }
        }
        out
    }
}

/// A value as text, with what differs from run to run replaced, as in a tree of spans.
fn text(key: &str, any: &AnyValue) -> String {
    let value = match any {
        AnyValue::Int(number) => Value::I64(*number),
        AnyValue::Double(number) => Value::F64(*number),
        AnyValue::Boolean(flag) => Value::Bool(*flag),
        AnyValue::String(text) => Value::String(text.clone()),
        other => return normalize::text_without_ports(&format!("{other:?}")),
    };
    let mut pairs = normalize::sorted(&[KeyValue::new(key.to_owned(), value)]);
    pairs.pop().map(|(_, value)| value).unwrap_or_default()
}
