//! The operation guard, finished exactly once: with an outcome, on drop, or while a panic unwinds.
//!
//! Follows the [tracing API](https://opentelemetry.io/docs/specs/otel/trace/api/#end): a span ends once. The duration
//! of the span and the duration passed to the metrics are the same measurement.

use std::fmt;
use std::time::{Duration, Instant, SystemTime};

use opentelemetry::trace::{SpanRef, TraceContextExt};
use opentelemetry::{Context, ContextGuard, KeyValue};
use otel_propagation::{HeaderWriter, PropagatorHandle};

use crate::isolation::catch_panic;
use crate::outcome::{ERROR_TYPE, Outcome};
use crate::span::{OutboundSpan, SpanStart, StartedSpan};
use crate::tracer::Tracer;

/// Callbacks that record an operation. [`Operation`] decides when they are called.
///
/// A panic of a method does not reach the operation's owner, and the later steps of an end still run.
pub trait OperationObserver: Send + 'static {
    /// Adds `delta` (1 at the start, −1 at the end) to the number of operations in flight. Returns `true` if it was
    /// counted: the end is reported only if the start was counted.
    fn add_in_flight(&self, delta: i64) -> bool {
        let _ = delta;
        false
    }

    /// Returns the outcome of an operation that is dropped before it has finished. Default: `cancelled`.
    fn outcome_if_dropped(&mut self) -> Outcome {
        Outcome::cancelled()
    }

    /// Called first when the operation ends, whether its span records or not.
    #[inline]
    fn before_end(&mut self, outcome: &Outcome) {
        let _ = outcome;
    }

    /// Returns the outcome that the span shows, if it is not the outcome of the metrics.
    #[inline]
    fn span_outcome(&self, outcome: &Outcome) -> Option<Outcome> {
        let _ = outcome;
        None
    }

    /// Sets the final attributes of the span. Called only for a recording span, before [`Operation`] sets
    /// `error.type` and the status of a failure.
    fn finish_span(&mut self, span: &SpanRef<'_>, outcome: &Outcome) {
        let _ = (span, outcome);
    }

    /// Records the metrics of the finished operation.
    fn record_metrics(&mut self, outcome: &Outcome, elapsed: Duration);
}

/// The start of an operation, as a wall-clock time and a monotonic instant.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct StartTime {
    /// The start time of the operation's span.
    pub time: SystemTime,
    instant: Instant,
}

impl StartTime {
    /// Reads both clocks.
    #[must_use]
    pub fn now() -> Self {
        Self { time: SystemTime::now(), instant: Instant::now() }
    }

    /// Returns the start by the monotonic clock, for a wait that ended with it.
    #[must_use]
    pub fn instant(&self) -> Instant {
        self.instant
    }

    /// Returns the time since the start, by the monotonic clock.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.instant.elapsed()
    }
}

/// Guard of one operation: its span, its duration and its share of the number of operations in flight.
///
/// The operation finishes exactly once: by [`finish`](Self::finish), on drop with the outcome of
/// [`OperationObserver::outcome_if_dropped`], or with [`Outcome::panicked`] if a panic
/// unwinds out of [`inside`](Self::inside).
pub struct Operation<O: OperationObserver> {
    context: Context,
    start_time: StartTime,
    owns_span: bool,
    recording: bool,
    counted: bool,
    /// `true` if telemetry is suppressed.
    suppressed: bool,
    finished: bool,
    observer: O,
}

impl<O: OperationObserver> Operation<O> {
    /// Starts an operation and its span, as a child of `parent`, and counts it as in flight.
    ///
    /// `start` and `attributes` are called at most once: the former only if a sampler is asked, the latter only if it receives the
    /// attributes or the span records.
    #[inline]
    pub fn start(
        tracer: &Tracer,
        start: impl FnOnce() -> SpanStart,
        parent: &Context,
        start_time: StartTime,
        observer: O,
        attributes: impl FnOnce() -> Vec<KeyValue>,
    ) -> Self {
        let span = catch_panic(|| tracer.start(start, parent, attributes));
        let span = span.unwrap_or_else(|| StartedSpan::none(parent));
        Self::from_span(span, start_time, observer)
    }

    /// Starts the span of a message that is about to be sent; [`from_outbound`](Self::from_outbound) makes it an operation.
    ///
    /// `start` and `attributes` are called at most once: the former only if a sampler is asked, the latter only if it receives the
    /// attributes or the span records.
    #[inline]
    pub fn start_outbound<'p>(
        tracer: &Tracer,
        start: impl FnOnce() -> SpanStart,
        parent: &'p Context,
        attributes: impl FnOnce() -> Vec<KeyValue>,
    ) -> OutboundSpan<'p> {
        let span = catch_panic(|| tracer.start_outbound(start, parent, attributes));
        span.unwrap_or_else(|| OutboundSpan::none(parent))
    }

    /// Creates the operation of a message that is being sent. Its context is that of its span if that records, else the
    /// parent's: the message has its headers, and no code of the application runs inside of the operation.
    #[inline]
    pub fn from_outbound(span: OutboundSpan<'_>, start_time: StartTime, observer: O) -> Self {
        Self::from_span(span.into_span(), start_time, observer)
    }

    /// Creates an operation of a span that was started before, and counts it as in flight.
    ///
    /// An operation that was started where telemetry is suppressed records nothing: neither a span nor metrics.
    #[inline]
    pub fn from_span(span: StartedSpan, start_time: StartTime, observer: O) -> Self {
        let StartedSpan { context, recording, own, suppressed } = span;
        let counted = !suppressed && catch_panic(|| observer.add_in_flight(1)).unwrap_or(false);
        Self {
            context,
            start_time,
            owns_span: own,
            recording,
            counted,
            suppressed,
            finished: false,
            observer,
        }
    }

    /// Creates an operation without a span of its own, in a context of another operation, and counts it as in flight.
    pub fn without_span(context: Context, start_time: StartTime, observer: O) -> Self {
        let suppressed = context.is_telemetry_suppressed();
        let span = StartedSpan { context, recording: false, own: false, suppressed };
        Self::from_span(span, start_time, observer)
    }

    /// Returns the context of the operation's span, or `parent` if no span was started.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Returns false if the context holds the parent's span in place of one of the operation's: without an SDK, after
    /// its shutdown, or where telemetry is suppressed.
    #[must_use]
    pub fn owns_span(&self) -> bool {
        self.owns_span
    }

    /// Drops the context of an operation whose span does not record, so that it is not kept until the end. The context is an empty
    /// one from then on. For an operation whose code does not run inside of it, such as a message that waits for its
    /// confirmation.
    #[inline]
    pub fn release_context(&mut self) {
        if !self.recording {
            self.context = Context::new();
        }
    }

    /// Injects the operation's context into a carrier.
    ///
    /// If the operation owns its span, that replaces trace headers which the caller has written. Otherwise they stay,
    /// and the context is written only as far as the carrier holds nothing yet.
    #[inline]
    pub fn inject<C: HeaderWriter>(&self, propagator: &PropagatorHandle, carrier: &mut C) {
        if self.owns_span {
            propagator.inject(&self.context, carrier);
        } else {
            propagator.inject_absent(&self.context, carrier);
        }
    }

    /// Makes the operation's context the current one until the guard is dropped.
    #[inline]
    pub fn attach(&self) -> ContextGuard {
        self.context.clone().attach()
    }

    /// Returns the span if it records.
    #[must_use]
    pub fn recording(&self) -> Option<SpanRef<'_>> {
        self.recording.then(|| self.context.span())
    }

    /// Returns the transport's observer of this operation.
    #[must_use]
    pub fn observer(&self) -> &O {
        &self.observer
    }

    /// Returns the transport's observer of this operation, mutably.
    pub fn observer_mut(&mut self) -> &mut O {
        &mut self.observer
    }

    /// Returns the observer and the span, if that records: both at once, because a call of the observer's method with the span
    /// as an argument borrows both.
    #[inline]
    pub fn parts(&mut self) -> (&mut O, Option<SpanRef<'_>>) {
        (&mut self.observer, self.recording.then(|| self.context.span()))
    }

    /// Finishes the operation with `outcome`.
    pub fn finish(mut self, outcome: &Outcome) {
        self.end(outcome);
    }

    /// Runs user code in the operation's context. A panic in `code` finishes the operation with
    /// [`Outcome::panicked`] at once, because a caller may catch the panic and drop the operation later.
    #[inline]
    pub fn inside<T>(&mut self, code: impl FnOnce(&mut O) -> T) -> T {
        struct OnUnwind<'a, O: OperationObserver>(&'a mut Operation<O>);
        impl<O: OperationObserver> Drop for OnUnwind<'_, O> {
            fn drop(&mut self) {
                self.0.end(&Outcome::panicked());
            }
        }
        let attached = self.attach();
        let on_unwind = OnUnwind(self);
        let output = code(&mut on_unwind.0.observer);
        std::mem::forget(on_unwind);
        drop(attached);
        output
    }

    /// Ends the operation in place; later ends have no effect. For an operation that is part of another value; otherwise
    /// see [`finish`](Self::finish).
    pub fn end(&mut self, outcome: &Outcome) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        let elapsed = self.start_time.elapsed();
        // One wall around all steps. After a panic in one of them, the next round continues with the step after it.
        let mut step = Step::BeforeEnd;
        while catch_panic(|| self.run_steps(&mut step, outcome, elapsed)).is_none() {}
    }

    #[inline]
    fn run_steps(&mut self, step: &mut Step, outcome: &Outcome, elapsed: Duration) {
        if *step == Step::BeforeEnd {
            *step = Step::FinishSpan;
            self.observer.before_end(outcome);
        }
        if *step == Step::FinishSpan {
            *step = Step::SetStatus;
            if self.recording {
                self.observer.finish_span(&self.context.span(), outcome);
            }
        }
        if *step == Step::SetStatus {
            *step = Step::LeaveFlight;
            if self.recording {
                let other = self.observer.span_outcome(outcome);
                let outcome = other.as_ref().unwrap_or(outcome);
                if let Some(error_type) = outcome.error_type() {
                    let span = self.context.span();
                    span.set_attribute(KeyValue::new(ERROR_TYPE, error_type.clone()));
                    span.set_status(outcome.status());
                }
            }
        }
        if *step == Step::LeaveFlight {
            *step = Step::RecordMetrics;
            if self.counted {
                self.observer.add_in_flight(-1);
            }
        }
        if *step == Step::RecordMetrics {
            *step = Step::EndSpan;
            if !self.suppressed {
                self.observer.record_metrics(outcome, elapsed);
            }
        }
        // The span ends last, so that the measurements are visible once the span is.
        if *step == Step::EndSpan {
            *step = Step::Done;
            if self.recording {
                self.context.span().end_with_timestamp(self.start_time.time + elapsed);
            }
        }
    }
}

/// The next step of an operation's end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    BeforeEnd,
    FinishSpan,
    SetStatus,
    LeaveFlight,
    RecordMetrics,
    EndSpan,
    Done,
}

impl<O: OperationObserver> Drop for Operation<O> {
    fn drop(&mut self) {
        if !self.finished {
            // Not `thread::panicking()`: this operation can be dropped by the panic of code next to it. Its own code
            // runs in `inside`, which sees each panic.
            let outcome =
                catch_panic(|| self.observer.outcome_if_dropped()).unwrap_or_else(Outcome::cancelled);
            self.end(&outcome);
        }
    }
}

impl<O: OperationObserver> fmt::Debug for Operation<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operation")
            .field("span", self.context.span().span_context())
            .field("recording", &self.recording)
            .finish_non_exhaustive()
    }
}
