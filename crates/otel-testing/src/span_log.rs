//! The spans of a recorder: which spans started, how often each was ended explicitly, and what they recorded.
//!
//! Follows <https://opentelemetry.io/docs/specs/otel/trace/sdk/#span-processor> (`OnStart`, `OnEnd`).

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
    time::Duration,
};

use opentelemetry::{
    Context,
    trace::{Span as _, SpanId, SpanKind},
};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{Span, SpanData, SpanProcessor},
};

/// Shared by the recorder, its spans and its span processor.
#[derive(Clone, Debug, Default)]
pub(crate) struct SpanLog(Arc<Mutex<SpanLogState>>);

#[derive(Debug, Default)]
pub(crate) struct SpanLogState {
    /// Every span that records, in the order of start.
    pub(crate) started: Vec<Entry>,
    by_id: HashMap<SpanId, usize>,
    /// The spans that the SDK exported, in the order of end.
    pub(crate) finished: Vec<SpanData>,
    wakers: Vec<Waker>,
}

/// One span that was started.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) name: Cow<'static, str>,
    pub(crate) kind: SpanKind,
    /// Calls of `end`; the end that the SDK adds when a span is dropped is none of them.
    pub(crate) ends: usize,
    pub(crate) finished: bool,
}

impl SpanLog {
    pub(crate) fn lock(&self) -> MutexGuard<'_, SpanLogState> {
        // A test that panics in another thread must not hide what was recorded.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn explicit_end(&self, span_id: SpanId) {
        let mut state = self.lock();
        if let Some(&index) = state.by_id.get(&span_id) {
            state.started[index].ends += 1;
        }
    }

    pub(crate) fn wake(&self) {
        let wakers = std::mem::take(&mut self.lock().wakers);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl SpanLogState {
    pub(crate) fn entry(&self, span_id: SpanId) -> Option<&Entry> {
        self.by_id.get(&span_id).map(|&index| &self.started[index])
    }

    /// The place of a span in the order of start; spans of other recorders come last.
    pub(crate) fn order(&self, span_id: SpanId) -> usize {
        self.by_id.get(&span_id).copied().unwrap_or(usize::MAX)
    }

    pub(crate) fn wake_me(&mut self, waker: &Waker) {
        if !self.wakers.iter().any(|known| known.will_wake(waker)) {
            self.wakers.push(waker.clone());
        }
    }
}

impl SpanProcessor for SpanLog {
    fn on_start(&self, span: &mut Span, _cx: &Context) {
        let Some(data) = span.exported_data() else { return };
        let span_id = span.span_context().span_id();
        let mut state = self.lock();
        let index = state.started.len();
        state.by_id.insert(span_id, index);
        state.started.push(Entry { name: data.name, kind: data.span_kind, ends: 0, finished: false });
    }

    fn on_end(&self, span: SpanData) {
        let mut state = self.lock();
        if let Some(&index) = state.by_id.get(&span.span_context.span_id()) {
            state.started[index].finished = true;
            state.started[index].name = span.name.clone();
        }
        state.finished.push(span);
        drop(state);
        self.wake();
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}
