//! The operation guard, finished exactly once: with an outcome, on drop, or while a panic unwinds.
//!
//! Follows the [tracing API](https://opentelemetry.io/docs/specs/otel/trace/api/#end): a span ends once. The duration
//! of the span and the duration passed to the metrics are the same measurement.

use std::fmt;
use std::time::{Duration, Instant, SystemTime};

use opentelemetry::trace::{SpanRef, TraceContextExt};
use opentelemetry::{Context, ContextGuard, KeyValue};
use otel_propagation::{HeaderWriter, PropagatorHandle};

use crate::outcome::{ERROR_TYPE, Outcome};
use crate::tracer::{SpanStart, Tracer};

/// Callbacks that record an operation. [`Operation`] decides when they are called.
///
/// No method may panic: each runs on the task that serves a request, and may run while a panic of user code unwinds,
/// where a second panic aborts the process.
pub trait Record: Send + 'static {
    /// Adds `delta` (1 at the start, −1 at the end) to the number of operations in flight. Returns `true` if it was
    /// counted: the end is reported only if the start was counted.
    fn in_flight(&self, delta: i64) -> bool {
        let _ = delta;
        false
    }

    /// Returns the outcome of an operation that is dropped before it has finished. Default: `cancelled`.
    fn abandoned(&mut self) -> Outcome {
        Outcome::cancelled()
    }

    /// Sets the final attributes of the span. Called only for a recording span, before [`Operation`] sets
    /// `error.type` and the status of a failure.
    fn span(&mut self, span: &SpanRef<'_>, outcome: &Outcome) {
        let _ = (span, outcome);
    }

    /// Records the metrics of the finished operation.
    fn measure(&mut self, outcome: &Outcome, elapsed: Duration);
}

/// The start of an operation, as a wall-clock time and a monotonic instant.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Started {
    /// The start time of the operation's span.
    pub time: SystemTime,
    instant: Instant,
}

impl Started {
    /// Reads both clocks.
    #[must_use]
    pub fn now() -> Self {
        Self { time: SystemTime::now(), instant: Instant::now() }
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
/// [`Record::abandoned`], or with [`Outcome::panicked`] while a panic unwinds.
pub struct Operation<R: Record> {
    context: Context,
    started: Started,
    owns_span: bool,
    recording: bool,
    counted: bool,
    finished: bool,
    record: R,
}

impl<R: Record> Operation<R> {
    /// Starts an operation and its span, as a child of `parent`, and counts it as in flight.
    ///
    /// `attributes` is called at most once, and only if a sampler receives the attributes or the span records.
    #[inline]
    pub fn start(
        tracer: &Tracer,
        start: SpanStart,
        parent: &Context,
        started: Started,
        record: R,
        attributes: impl FnOnce() -> Vec<KeyValue>,
    ) -> Self {
        let span = tracer.start(start, parent, attributes);
        let counted = record.in_flight(1);
        Self {
            context: span.context,
            started,
            owns_span: span.own,
            recording: span.recording,
            counted,
            finished: false,
            record,
        }
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

    /// Returns the transport's record of this operation.
    #[must_use]
    pub fn record(&self) -> &R {
        &self.record
    }

    /// Returns the transport's record of this operation, mutably.
    pub fn record_mut(&mut self) -> &mut R {
        &mut self.record
    }

    /// Finishes the operation with `outcome`.
    pub fn finish(mut self, outcome: &Outcome) {
        self.end(outcome);
    }

    /// Runs user code in the operation's context. A panic in `code` finishes the operation with
    /// [`Outcome::panicked`] at once, because a caller may catch the panic and drop the operation later.
    #[inline]
    pub(crate) fn inside<T>(&mut self, code: impl FnOnce() -> T) -> T {
        struct OnUnwind<'a, R: Record>(&'a mut Operation<R>);
        impl<R: Record> Drop for OnUnwind<'_, R> {
            fn drop(&mut self) {
                self.0.end(&Outcome::panicked());
            }
        }
        let attached = self.attach();
        let on_unwind = OnUnwind(self);
        let output = code();
        std::mem::forget(on_unwind);
        drop(attached);
        output
    }

    pub(crate) fn end(&mut self, outcome: &Outcome) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        let elapsed = self.started.elapsed();
        if self.recording {
            let span = self.context.span();
            self.record.span(&span, outcome);
            if let Some(error_type) = outcome.error_type() {
                span.set_attribute(KeyValue::new(ERROR_TYPE, error_type.clone()));
                span.set_status(outcome.status());
            }
        }
        if self.counted {
            self.record.in_flight(-1);
        }
        self.record.measure(outcome, elapsed);
        // The span ends last, so that the measurements are visible once the span is.
        if self.recording {
            self.context.span().end_with_timestamp(self.started.time + elapsed);
        }
    }
}

impl<R: Record> Drop for Operation<R> {
    fn drop(&mut self) {
        if !self.finished {
            let outcome =
                if std::thread::panicking() { Outcome::panicked() } else { self.record.abandoned() };
            self.end(&outcome);
        }
    }
}

impl<R: Record> fmt::Debug for Operation<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operation")
            .field("span", self.context.span().span_context())
            .field("recording", &self.recording)
            .finish_non_exhaustive()
    }
}
