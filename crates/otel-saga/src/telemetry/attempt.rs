//! The spans of a start and of an attempt, as operations that end exactly once.
//!
//! Follows `docs/conventions.md` and `docs/sagas.md`, "Traces": an attempt's span is a child of the start's,
//! whichever process makes it.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, TraceContextExt as _};
use opentelemetry::{Context, KeyValue};
use otel_operation::{
    FinishOnOutput, Operation, OperationObserver, Outcome, SpanStart, StartTime, with_span_identity,
};
use otel_propagation::context_with_remote_parent;
use serde_json::Value;

use super::{Prepared, Telemetry, names, parse_traceparent};
use crate::error::StepError;
use crate::flow::{self, Phase};

/// The operation of a start, which has a span and no metrics.
#[derive(Debug)]
pub(crate) struct Start;

impl OperationObserver for Start {
    fn record_metrics(&mut self, _: &Outcome, _: Duration) {}
}

/// The operation of an attempt.
#[derive(Debug)]
pub(crate) struct Attempt {
    saga: Arc<Prepared>,
    key: (u16, Phase),
    /// True once the intent is in the journal. Without that the attempt is not measured, because it was never made.
    made: bool,
}

impl OperationObserver for Attempt {
    fn record_metrics(&mut self, outcome: &Outcome, elapsed: Duration) {
        if self.made {
            self.saga.attempted(self.key.0, self.key.1, outcome, elapsed);
        }
    }
}

impl FinishOnOutput<Result<Value, StepError>> for Attempt {
    type Output = Result<Value, StepError>;

    fn complete(operation: Option<Operation<Self>>, output: Self::Output) -> Self::Output {
        if let Some(operation) = operation {
            operation.finish(&output.as_ref().map_or_else(StepError::outcome, |_| Outcome::ok()));
        }
        output
    }
}

/// The operation of an attempt whose intent may not be in the journal yet.
pub(crate) type AttemptOperation = Operation<Attempt>;

/// The attributes of an attempt's span, and its parent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AttemptSpan<'a> {
    pub(crate) saga: &'a Arc<Prepared>,
    pub(crate) id: &'a Arc<str>,
    /// The context of the start's span, restored from the journal.
    pub(crate) parent: &'a Context,
    pub(crate) key: (u16, Phase),
    pub(crate) attempt: u32,
}

impl AttemptSpan<'_> {
    fn start(&self, time: SystemTime) -> SpanStart {
        let (step, phase) = self.key;
        SpanStart::new(self.saga.span(step, phase), SpanKind::Internal, time)
    }

    fn attributes(&self, more: usize) -> Vec<KeyValue> {
        self.saga.attempt(self.id, self.key, self.attempt, more)
    }
}

/// The resolution of a step by an operator, and the parent of its span.
#[derive(Debug)]
pub(crate) struct ResolutionSpan<'a> {
    pub(crate) saga: &'a Arc<Prepared>,
    pub(crate) id: &'a Arc<str>,
    pub(crate) parent: &'a Context,
    pub(crate) step: u16,
    pub(crate) resolution: &'static str,
    pub(crate) who: String,
    pub(crate) why: String,
}

impl Telemetry {
    /// Records the span of a resolution, from its time until now.
    pub(crate) fn resolved(&self, about: ResolutionSpan<'_>, at: u64) {
        let mut started = StartTime::now();
        started.time = UNIX_EPOCH + Duration::from_millis(at);
        let name = about.saga.resolution_span(about.step);
        let start = SpanStart::new(name, SpanKind::Internal, started.time);
        let ResolutionSpan { saga, id, parent, step, resolution, who, why } = about;
        let attributes = || {
            let mut attributes = saga.step_attributes(id, step, 3);
            attributes.push(KeyValue::new(names::RESOLUTION, resolution));
            attributes.push(KeyValue::new(names::RESOLUTION_AUTHOR, who));
            attributes.push(KeyValue::new(names::RESOLUTION_REASON, why));
            attributes
        };
        let operation = Operation::start(&self.tracer, || start, parent, started, Start, attributes);
        operation.finish(&Outcome::ok());
    }

    pub(crate) fn start(&self, saga: &Prepared, id: &Arc<str>) -> Operation<Start> {
        let started = StartTime::now();
        let span = SpanStart::new(saga.span_start.clone(), SpanKind::Internal, started.time);
        let attributes = || saga.instance(id, 0);
        Operation::start(&self.tracer, || span, &Context::current(), started, Start, attributes)
    }

    pub(crate) fn attempt(&self, about: AttemptSpan<'_>) -> AttemptOperation {
        let started = StartTime::now();
        let record = Attempt { saga: Arc::clone(about.saga), key: about.key, made: false };
        let (start, attributes) = (about.start(started.time), || about.attributes(0));
        Operation::start(&self.tracer, || start, about.parent, started, record, attributes)
    }

    /// Marks the attempt as made: its intent is in the journal.
    pub(crate) fn made(attempt: &mut AttemptOperation) {
        attempt.observer_mut().made = true;
    }

    /// Ends the operation of an attempt that was not made, because its intent did not get into the journal.
    pub(crate) fn not_made(attempt: AttemptOperation, why: &Outcome) {
        if let Some(span) = attempt.recording() {
            span.set_attribute(KeyValue::new(names::OUTCOME, "not_made"));
        }
        attempt.finish(why);
    }

    /// Records an interrupted attempt again. Returns true if the span has its original id.
    pub(crate) fn interrupted(&self, about: AttemptSpan<'_>, began: u64, span: Option<&str>) -> bool {
        let start = about.start(UNIX_EPOCH + Duration::from_millis(began));
        let trace = about.parent.has_active_span().then(|| about.parent.span());
        let lost = trace
            .zip(span.and_then(span_id))
            .map(|(trace, id)| sibling_span_context(trace.span_context(), id));
        let attributes = || {
            let mut attributes = about.attributes(2);
            attributes.push(KeyValue::new(names::RECOVERED, true));
            attributes.push(KeyValue::new(names::OUTCOME, "interrupted"));
            attributes
        };
        let begin =
            || Operation::start(&self.tracer, || start, about.parent, StartTime::now(), Start, attributes);
        let (operation, same) = restart_span(lost, begin);
        operation.finish(&Outcome::error("interrupted"));
        same
    }

    /// Records the start's span again, for a saga without any outcome: the process may have died before it exported
    /// the span, and the attempts would have no parent.
    pub(crate) fn start_again(&self, saga: &Prepared, id: &Arc<str>, begun: &flow::Started) {
        let trace = begun.trace.as_deref().and_then(parse_traceparent).filter(SpanContext::is_sampled);
        let (Some(lost), Some(parent)) = (trace, begun.parent.as_deref()) else { return };
        let parent = span_id(parent).map_or_else(Context::new, |parent| {
            context_with_remote_parent(sibling_span_context(&lost, parent))
        });
        let mut started = StartTime::now();
        // Its duration is unknown. It was successful, because the start is in the journal.
        started.time = UNIX_EPOCH + Duration::from_millis(begun.at);
        let start = SpanStart::new(saga.span_start.clone(), SpanKind::Internal, started.time);
        let attributes = || {
            let mut attributes = saga.instance(id, 1);
            attributes.push(KeyValue::new(names::RECOVERED, true));
            attributes
        };
        let begin = || Operation::start(&self.tracer, || start, &parent, started, Start, attributes);
        let (operation, _) = restart_span(Some(lost), begin);
        operation.finish(&Outcome::ok());
    }
}

/// Starts a span again that may have been lost: under its original id if the id generator allows that, otherwise with
/// a link to it. Returns true if it has its original id.
pub(crate) fn restart_span<R: OperationObserver>(
    lost: Option<SpanContext>,
    begin: impl FnOnce() -> Operation<R>,
) -> (Operation<R>, bool) {
    let Some(lost) = lost else { return (begin(), false) };
    let operation = with_span_identity(lost.trace_id(), lost.span_id(), begin);
    let same = operation.context().span().span_context().span_id() == lost.span_id();
    if !same && let Some(span) = operation.recording() {
        span.add_link(lost, Vec::new());
    }
    (operation, same)
}

/// The context of the span with this id in the same trace.
fn sibling_span_context(trace: &SpanContext, id: SpanId) -> SpanContext {
    SpanContext::new(trace.trace_id(), id, trace.trace_flags(), true, trace.trace_state().clone())
}

/// Parses a journaled span id. `None` for text that is not an id, and for zeros.
fn span_id(text: &str) -> Option<SpanId> {
    SpanId::from_hex(text).ok().filter(|id| *id != SpanId::INVALID)
}
