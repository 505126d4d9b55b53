//! Copies selected baggage entries onto spans and log records.
//!
//! Follows [W3C Baggage](https://www.w3.org/TR/baggage/) and the [Baggage
//! API](https://opentelemetry.io/docs/specs/otel/baggage/api/). A caller controls the baggage, so that only entries
//! on a list are copied; by default the list is empty.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::baggage::BaggageExt;
use opentelemetry::logs::{AnyValue, LogRecord};
use opentelemetry::trace::Span as _;
use opentelemetry::{Context, InstrumentationScope, Key, KeyValue};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogProcessor, SdkLogRecord};
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};

/// The keys of the copied entries; the attribute has the same key.
#[derive(Clone, Debug)]
pub(crate) struct CopyBaggage(Arc<[Key]>);

impl CopyBaggage {
    pub(crate) fn new(names: &[Key]) -> Self {
        Self(names.into())
    }
}

impl SpanProcessor for CopyBaggage {
    fn on_start(&self, span: &mut Span, cx: &Context) {
        let baggage = cx.baggage();
        if baggage.is_empty() {
            return;
        }
        for name in &*self.0 {
            if let Some(value) = baggage.get(name) {
                span.set_attribute(KeyValue::new(name.clone(), value.clone()));
            }
        }
    }

    fn on_end(&self, _span: SpanData) {}

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

impl LogProcessor for CopyBaggage {
    fn emit(&self, record: &mut SdkLogRecord, _scope: &InstrumentationScope) {
        Context::map_current(|cx| {
            let baggage = cx.baggage();
            for name in &*self.0 {
                if let Some(value) = baggage.get(name) {
                    record.add_attribute(name.clone(), AnyValue::String(value.clone()));
                }
            }
        });
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}
