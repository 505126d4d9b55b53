//! The guard: one operation, finished exactly once, by its outcome, by being dropped, or by unwinding.
//!
//! Follows the tracing API (a span has one end) and the rule of the conventions that a span and the duration
//! metric of the same operation agree.

use std::fmt;
use std::time::{Duration, Instant, SystemTime};

use opentelemetry::trace::{SpanRef, TraceContextExt};
use opentelemetry::{Context, ContextGuard, KeyValue};
use otel_propagation::{HeaderWriter, PropagatorHandle};

use crate::outcome::{ERROR_TYPE, Outcome};
use crate::tracer::{SpanStart, Tracer};

/// What a transport records of an operation. The guard decides when; this decides what.
///
/// No method may panic: each runs where a request is served, and `measure` and `in_flight` also while a
/// panic of user code unwinds.
pub trait Record: Send + 'static {
    /// Adds `delta` (1 at the start, −1 at the end) to the number of operations in flight. Answers whether it was
    /// counted: an end is counted only if its start was.
    fn in_flight(&self, delta: i64) -> bool {
        let _ = delta;
        false
    }

    /// How the operation ended if its owner drops it before it has finished.
    fn abandoned(&mut self) -> Outcome {
        Outcome::cancelled()
    }

    /// The last things that the span is told. Called only for a span that records; the status and
    /// `error.type` are set by the guard.
    fn span(&mut self, span: &SpanRef<'_>, outcome: &Outcome) {
        let _ = (span, outcome);
    }

    /// Records the metrics of the ended operation.
    fn measure(&mut self, outcome: &Outcome, elapsed: Duration);
}

/// The two clocks of an operation's start, read once.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Started {
    /// When the operation started, for its span.
    pub time: SystemTime,
    instant: Instant,
}

impl Started {
    /// Reads the clocks.
    #[must_use]
    pub fn now() -> Self {
        Self { time: SystemTime::now(), instant: Instant::now() }
    }

    /// The time since then.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.instant.elapsed()
    }
}

/// One operation: a span, a clock and a share in the number of operations in flight.
///
/// It finishes exactly once: by [`finish`](Self::finish), or when it is dropped (then [`Record::abandoned`]
/// tells how it ended), or when a panic unwinds through its owner.
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
    /// Starts an operation: its span under `parent`, its clock at `started`, one more in flight.
    ///
    /// `attributes` is called at most once, and only for a span that a sampler looks at or that records.
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

    /// The context in which the operation's code runs, and which is propagated on.
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

    /// The span, if it records.
    #[must_use]
    pub fn recording(&self) -> Option<SpanRef<'_>> {
        self.recording.then(|| self.context.span())
    }

    /// What the transport keeps about this operation.
    #[must_use]
    pub fn record(&self) -> &R {
        &self.record
    }

    /// What the transport keeps about this operation, to be changed.
    pub fn record_mut(&mut self) -> &mut R {
        &mut self.record
    }

    /// Ends the operation with this outcome.
    pub fn finish(mut self, outcome: &Outcome) {
        self.end(outcome);
    }

    /// Runs user code in the operation's context. A panic that unwinds through here ends the operation as panicked,
    /// even where somebody further out catches the panic and drops the operation later.
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
        // Last, so that whoever sees the span finds the measurements there too.
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
