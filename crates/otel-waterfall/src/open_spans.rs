//! The number of open spans: a span processor that counts, so that a short program can wait for the end of a trace.
//!
//! Follows the [Trace SDK, "Span processor"](https://opentelemetry.io/docs/specs/otel/trace/sdk/#span-processor).

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};

/// Counts the recorded spans that have started and not ended, over all providers that have a clone of it.
///
/// A server's work can outlast its response, and a producer's span can outlast the message; a trace that is drawn too
/// early lacks these spans. A long-running program does not need this processor.
#[derive(Clone, Debug, Default)]
pub struct OpenSpans(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    open: usize,
    waiting: Vec<Waker>,
}

impl OpenSpans {
    /// Creates a counter at zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits until no span is open, under any async runtime.
    pub async fn none(&self) {
        self.at_most(0).await;
    }

    /// Waits until at most this many spans are open.
    pub async fn at_most(&self, spans: usize) {
        poll_fn(|cx| {
            let mut state = self.state();
            if state.open <= spans {
                return Poll::Ready(());
            }
            if !state.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                state.waiting.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The lock is never held over code that can panic halfway through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SpanProcessor for OpenSpans {
    fn on_start(&self, _span: &mut Span, _cx: &Context) {
        self.state().open += 1;
    }

    fn on_end(&self, _span: SpanData) {
        let waiting = {
            let mut state = self.state();
            state.open = state.open.saturating_sub(1);
            std::mem::take(&mut state.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}
