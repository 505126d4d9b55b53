//! The record of a call that a layer refused: a span with its own `error.type`, and a count.
//!
//! Follows `docs/conventions.md`: a call that was not sent has no client span.

use std::borrow::Cow;
use std::time::Duration;

use opentelemetry::trace::SpanKind;
use opentelemetry::{Context, KeyValue};
use otel_operation::{ERROR_TYPE, Operation, OperationObserver, Outcome, SpanStart, StartTime};

use crate::attributes::{NAME, PATTERN};
use crate::error::ResilienceError;
use crate::instrumentation::ResilienceInstrumentation;

/// A call that a layer refused.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusal<'a> {
    /// The pattern of the layer, a short list.
    pub(crate) pattern: &'static str,
    /// The name of the policy, if it has one.
    pub(crate) name: Option<&'a Cow<'static, str>>,
    pub(crate) error: &'a ResilienceError,
}

impl Refusal<'_> {
    /// Records the refusal, as a child of the current span.
    #[cold]
    pub(crate) fn record(self, instrumentation: &ResilienceInstrumentation) {
        let start_time = StartTime::now();
        let outcome = Outcome::error(self.error.error_type());
        let observer =
            RefusalObserver { instrumentation: instrumentation.clone(), attributes: self.attributes() };
        let name = || match self.name {
            Some(name) => Cow::Owned(format!("{} {name}", self.pattern)),
            None => Cow::Borrowed(self.pattern),
        };
        let start = || SpanStart::new(name(), SpanKind::Internal, start_time.time);
        let parent = Context::current();
        let attributes = || self.attributes();
        Operation::start(instrumentation.tracer(), start, &parent, start_time, observer, attributes)
            .finish(&outcome);
    }

    fn attributes(self) -> Vec<KeyValue> {
        let name = self.name.map(|name| KeyValue::new(NAME, name.clone()));
        name.into_iter().chain([KeyValue::new(PATTERN, self.pattern)]).collect()
    }
}

struct RefusalObserver {
    instrumentation: ResilienceInstrumentation,
    attributes: Vec<KeyValue>,
}

impl OperationObserver for RefusalObserver {
    fn record_metrics(&mut self, outcome: &Outcome, _elapsed: Duration) {
        if let Some(instruments) = self.instrumentation.instruments() {
            let error = outcome.error_type().map(|error| KeyValue::new(ERROR_TYPE, error.clone()));
            self.attributes.extend(error);
            instruments.refused.add(1, &self.attributes);
        }
    }
}
