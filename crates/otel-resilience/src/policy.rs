//! The identity of a policy that can refuse calls, and the record of refusals, of waits and of events.
//!
//! Follows `docs/conventions.md`: a call that was not sent has no client span, but one of its own.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use opentelemetry::trace::{SpanKind, TraceContextExt};
use opentelemetry::{Context, KeyValue};
use otel_operation::{
    AttributedHistogram, ERROR_TYPE, Operation, OperationObserver, Outcome, SpanStart, StartTime, catch_panic,
};

use crate::attributes::{NAME, PATTERN, WAIT, WAIT_TIME};
use crate::error::ResilienceError;
use crate::instrumentation::ResilienceInstrumentation;

/// The wait from which on it is an event of the span.
const EVENT_FROM: Duration = Duration::from_millis(1);

/// The identity of a policy. Clones share the metrics.
#[derive(Clone, Debug)]
pub(crate) struct Policy(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The pattern, from a short list.
    pattern: &'static str,
    name: Option<Cow<'static, str>>,
    instrumentation: ResilienceInstrumentation,
    waits: OnceLock<AttributedHistogram<f64>>,
}

impl Policy {
    pub(crate) fn new(
        pattern: &'static str,
        name: Option<Cow<'static, str>>,
        instrumentation: &ResilienceInstrumentation,
    ) -> Self {
        let instrumentation = instrumentation.clone();
        Self(Arc::new(Inner { pattern, name, instrumentation, waits: OnceLock::new() }))
    }

    /// Returns the same policy with another instrumentation.
    pub(crate) fn with_instrumentation(&self, instrumentation: &ResilienceInstrumentation) -> Self {
        Self::new(self.0.pattern, self.0.name.clone(), instrumentation)
    }

    pub(crate) fn name(&self) -> Cow<'static, str> {
        self.0.name.clone().unwrap_or_default()
    }

    pub(crate) fn instrumentation(&self) -> &ResilienceInstrumentation {
        &self.0.instrumentation
    }

    /// Records a refused call: a span with its own `error.type` below the current one, and a count.
    #[cold]
    pub(crate) fn refuse(&self, error: &ResilienceError, waited: Option<Duration>) {
        let start_time = StartTime::now();
        let name = || match &self.0.name {
            Some(name) => Cow::Owned(format!("{} {name}", self.0.pattern)),
            None => Cow::Borrowed(self.0.pattern),
        };
        let waited = waited.map(|waited| KeyValue::new(WAIT_TIME, waited.as_secs_f64()));
        let operation = Operation::start(
            self.0.instrumentation.tracer(),
            || SpanStart::new(name(), SpanKind::Internal, start_time.time),
            &Context::current(),
            start_time,
            RefusalObserver(self.clone()),
            || self.attributes().chain(waited).collect(),
        );
        operation.finish(&Outcome::error(error.error_type()));
    }

    /// Records the wait of a call that is about to be sent.
    pub(crate) fn record_wait(&self, waited: Duration) {
        if let Some(instruments) = self.0.instrumentation.instruments() {
            let series = || AttributedHistogram::new(&instruments.waits, self.attributes().collect());
            self.0.waits.get_or_init(series).record(waited.as_secs_f64());
        }
        if waited >= EVENT_FROM {
            self.add_event(
                WAIT,
                [KeyValue::new(PATTERN, self.0.pattern), KeyValue::new(WAIT_TIME, waited.as_secs_f64())],
            );
        }
    }

    /// Adds an event with the policy's name to the current span.
    #[cold]
    pub(crate) fn add_event<const N: usize>(&self, event: &'static str, attributes: [KeyValue; N]) {
        let _ = catch_panic(|| {
            Context::map_current(|context| {
                let span = context.span();
                if span.is_recording() {
                    span.add_event(event, self.name_attribute().chain(attributes).collect());
                }
            });
        });
    }

    pub(crate) fn name_attribute(&self) -> impl Iterator<Item = KeyValue> {
        self.0.name.clone().map(|name| KeyValue::new(NAME, name)).into_iter()
    }

    fn attributes(&self) -> impl Iterator<Item = KeyValue> {
        self.name_attribute().chain([KeyValue::new(PATTERN, self.0.pattern)])
    }
}

struct RefusalObserver(Policy);

impl OperationObserver for RefusalObserver {
    fn record_metrics(&mut self, outcome: &Outcome, _elapsed: Duration) {
        if let Some(instruments) = self.0.0.instrumentation.instruments() {
            let error = outcome.error_type().map(|error| KeyValue::new(ERROR_TYPE, error.clone()));
            let attributes: Vec<_> = self.0.attributes().chain(error).collect();
            instruments.refused.add(1, &attributes);
        }
    }
}
