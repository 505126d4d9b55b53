//! Requested span and trace ids, passed from the code that starts a span to the id generator.
//!
//! Neither the tracing API nor the SDK lets a caller choose the id of a span, and an id generator receives no
//! arguments. The requested ids are therefore kept in a thread-local while the span is started.

use std::cell::Cell;

use opentelemetry::trace::{SpanId, TraceId};

#[derive(Clone, Copy)]
enum Requested {
    Nothing,
    Span(TraceId, SpanId),
    /// The span id was taken. The SDK asks for the trace id next if the span has no parent.
    Trace(TraceId),
}

thread_local! {
    static REQUESTED: Cell<Requested> = const { Cell::new(Requested::Nothing) };
}

/// Runs `start` and requests these ids for the first span that it starts.
///
/// This records a span again whose ids are stored in a journal, and which was lost with its process before its
/// export.
///
/// The ids are used only if the provider's id generator asks for them, as that of `otel-telemetry` does; otherwise
/// the span gets generated ids, which callers can read from its span context. Later spans that `start` starts get
/// generated ids. `trace_id` has an effect only for a span without a parent.
pub fn with_span_identity<T>(trace_id: TraceId, span_id: SpanId, start: impl FnOnce() -> T) -> T {
    /// Clears the request, also if `start` panics.
    struct Forget;
    impl Drop for Forget {
        fn drop(&mut self) {
            REQUESTED.set(Requested::Nothing);
        }
    }
    let _forget = Forget;
    REQUESTED.set(Requested::Span(trace_id, span_id));
    start()
}

/// Takes the id requested for the span that is being started. For id generators.
#[must_use]
#[inline]
pub fn take_requested_span_id() -> Option<SpanId> {
    match REQUESTED.get() {
        Requested::Nothing => None,
        Requested::Span(trace_id, span_id) => {
            REQUESTED.set(Requested::Trace(trace_id));
            Some(span_id)
        }
        Requested::Trace(_) => {
            // A later span: the requested trace id was for the first one.
            REQUESTED.set(Requested::Nothing);
            None
        }
    }
}

/// Takes the id requested for the trace that is being started. For id generators.
///
/// Returns `None` unless [`take_requested_span_id`] has returned the span's id first.
#[must_use]
#[inline]
pub fn take_requested_trace_id() -> Option<TraceId> {
    match REQUESTED.get() {
        Requested::Trace(trace_id) => {
            REQUESTED.set(Requested::Nothing);
            Some(trace_id)
        }
        Requested::Nothing | Requested::Span(..) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    const TRACE: TraceId = TraceId::from_bytes([7; 16]);
    const SPAN: SpanId = SpanId::from_bytes([8; 8]);

    #[test]
    fn ids_are_given_once_and_in_the_order_in_which_the_sdk_asks() {
        with_span_identity(TRACE, SPAN, || {
            assert_eq!(take_requested_trace_id(), None, "no span has asked yet");
            assert_eq!(take_requested_span_id(), Some(SPAN));
            assert_eq!(take_requested_trace_id(), Some(TRACE));
            assert_eq!((take_requested_span_id(), take_requested_trace_id()), (None, None));
        });
    }

    #[test]
    fn a_second_span_gets_neither() {
        with_span_identity(TRACE, SPAN, || {
            // The first span has a parent, so that the SDK does not ask for a trace id.
            assert_eq!(take_requested_span_id(), Some(SPAN));
            assert_eq!((take_requested_span_id(), take_requested_trace_id()), (None, None));
        });
    }

    #[test]
    fn what_nobody_has_asked_for_is_forgotten() {
        with_span_identity(TRACE, SPAN, || ());
        assert_eq!((take_requested_span_id(), take_requested_trace_id()), (None, None));
        let _ = catch_unwind(|| with_span_identity(TRACE, SPAN, || panic!("as the test told it")));
        assert_eq!((take_requested_span_id(), take_requested_trace_id()), (None, None));
        with_span_identity(TRACE, SPAN, || {
            let elsewhere = std::thread::spawn(take_requested_span_id).join();
            assert_eq!(elsewhere.ok(), Some(None), "another thread's spans are other spans");
        });
    }
}
